/** Groups of sockets: made, taken apart, folded. */

import { edit, moving } from './edits';
import { foldedInto, groupId } from './frames';
import { remember } from './remembered';
import type { Store } from './store';

/** Asks for the name of a group that is to hold these sockets. */
export function askGroup(store: Store, sockets: string[]): true {
  store.set({ panel: { kind: 'grouping', sockets } });
  return true;
}

/** Puts a socket into a group that is there. */
export async function joinGroup(store: Store, group: string, socket: string): Promise<void> {
  await edit(store, [{ op: 'group', name: group, sockets: [socket] }], `${socket} is in group ${group}`);
}

/** Takes a socket out of a group, or dissolves it. */
export async function ungroup(store: Store, group: string, socket?: string): Promise<void> {
  const said = socket === undefined ? `group ${group} is dissolved; undo brings it back` : `${socket} is in no group`;
  const answer = await edit(store, [{ op: 'ungroup', name: group, ...(socket && { sockets: [socket] }) }], said);
  const { panel } = store.view;
  if (answer && panel?.kind === 'group' && panel.group === group && socket === undefined) store.set({ panel: null });
}

/** Folds a processor or a group to one card, or opens it again: in this browser, for as long as it keeps that. */
export function fold(store: Store, id: string): void {
  moving(store);
  const folded = new Set(store.view.folded);
  if (!folded.delete(id)) folded.add(id);
  setFolded(store, folded);
  store.say(folded.has(id) ? `${id.slice(2)} is folded` : `${id.slice(2)} is unfolded`);
}

/** A group stays folded under another name. */
export function refold(store: Store, group: string, to: string): void {
  const folded = new Set(store.view.folded);
  if (folded.delete(groupId(group))) setFolded(store, folded.add(groupId(to)));
}

/** Opens all that a socket is folded into, as far as `kept`. */
export function unfoldFor(store: Store, socket: string, kept?: string): void {
  const folded = new Set(store.view.folded);
  for (;;) {
    const id = store.graph && foldedInto(store.graph, folded).get(socket);
    if (!id || id === kept) break;
    folded.delete(id);
  }
  setFolded(store, folded);
}

function setFolded(store: Store, folded: Set<string>): void {
  remember(`folded:${store.graph?.flow ?? ''}`, folded.size ? [...folded].join('\n') : null);
  store.set({ folded });
}
