/** What a person can change, as commands to Python; each says what came of it. */

import { withReceipt } from './receipts';
import type { Answer, Plug } from './types';
import type { Store } from './store';
import { feeding, findPlug, keyOf, plugName, verdict, type Ends } from './wiring';

type Change = { op: string } & Record<string, unknown>;
type Point = { x: number; y: number };

/** One revision, and one step of undo, for all `changes`. */
export async function edit(store: Store, changes: Change[], said: string): Promise<Answer | null> {
  const answer = await store.ask('edit', { changes });
  if (answer) store.say(withReceipt(said, answer));
  return answer;
}

/** Options of a plug as the engine wants them. */
export function plugChange(plug: Omit<Plug, 'id' | 'when' | 'pick'>): Change {
  const { source, target, argument, on, map, gather } = plug;
  return { op: 'plug', source, target, argument, on, map, gather };
}

export function unplugChange({ source, target, argument, on }: Ends): Change {
  return { op: 'unplug', source, target, argument, on };
}

/** Plugs, and says at `at`, where a person let go, why not. */
export async function plug(
  store: Store,
  ends: Omit<Ends, 'on'>,
  at: Point | null,
  options: Record<string, unknown> = {}
): Promise<boolean> {
  const { graph } = store;
  if (!graph) return false;
  store.set({ plugging: null, refusal: null });
  const { ok, reason, remedy } = verdict(graph, ends.source, ends.target, ends.argument);
  if (!ok && !Object.keys(options).length) {
    const cure = remedy && { text: remedy.text, run: () => void plug(store, ends, at, remedy.options) };
    refuse(store, reason!, at, cure);
    return false;
  }
  return send(store, { ...ends, on: 'result' }, at, options);
}

async function send(store: Store, ends: Ends, at: Point | null, options: Record<string, unknown>): Promise<boolean> {
  // dashed until the graph holds it: the kernel may be busy, which is no refusal
  store.set({ pending: [...store.view.pending, { ...ends, revision: null }] });
  const changes = [{ ...plugChange({ ...ends, map: false, gather: false }), ...options }];
  const answer = await store.host.command('edit', { changes });
  const revision = typeof answer['revision'] === 'number' ? answer['revision'] : 0;
  const others = store.view.pending.filter(one => keyOf(one) !== keyOf(ends));
  if (!answer.ok) {
    store.set({ pending: others });
    refuse(store, answer.error ?? 'it was refused', at);
    return false;
  }
  const drawn = (store.graph?.revision ?? 0) >= revision;
  store.set({ pending: drawn ? others : [...others, { ...ends, revision }] });
  store.say(withReceipt(`plugged ${plugName(ends)}`, answer));
  return true;
}

export function refuse(store: Store, reason: string, at: Point | null, remedy?: { text: string; run: () => void }): void {
  store.set({ refusal: at && { text: reason, at, ...(remedy && { remedy }) } });
  store.say(`Refused: ${reason}`);
}

/** A refusal that a person has read is gone, and what was said of it. */
export function dismiss(store: Store): void {
  store.set({ refusal: null, spoken: '' });
}

type Argument = { socket: string; argument: string };

/** Has the one plug that feeds an argument feed another one, in one edit. */
export async function moveEnd(store: Store, from: Argument, to: Argument, at: Point): Promise<void> {
  const { graph } = store;
  if (!graph || (from.socket === to.socket && from.argument === to.argument)) return;
  const feeds = feeding(graph, from.socket, from.argument);
  const [held] = feeds;
  const name = `${from.socket}.${from.argument}`;
  if (!held)
    return refuse(store, `an output plugs into an argument, and nothing is plugged into ${name} that could be moved`, at);
  if (feeds.length > 1) return refuse(store, `${feeds.length} plugs lead to ${name}: unplug the one that is meant`, at);
  const { ok, reason, remedy } = verdict(graph, held.source, to.socket, to.argument);
  const cured = remedy && Object.keys(remedy.options).every(option => held[option as 'map' | 'gather']);
  if (!ok && !cured) return refuse(store, reason!, at);
  const change = { ...unplugChange(held), op: 'replug', to_target: to.socket, to_argument: to.argument };
  await edit(store, [change], `moved ${plugName(held)} to ${to.socket}.${to.argument}`);
}

export async function unplug(store: Store, plugs: Ends[]): Promise<void> {
  if (!plugs.length) return;
  const what = plugs.length === 1 ? plugName(plugs[0]!) : `${plugs.length} plugs`;
  await edit(store, plugs.map(unplugChange), `unplugged ${what}`);
  const panel = store.view.panel;
  if (panel?.kind === 'plug' && store.graph && !findPlug(store.graph, panel.key)) store.set({ panel: null });
}

export async function undo(store: Store, op: 'undo' | 'redo'): Promise<void> {
  const last = store.final;
  store.final = null;
  if (op === 'undo' && last && last.revision === store.graph?.revision) {
    store.say(`${last.what} cannot be undone; undo again takes back the edit before it`);
    return;
  }
  const answer = await store.ask(op);
  if (answer) store.say(withReceipt(`${op === 'undo' ? 'undone' : 'redone'}: ${String(answer['text'] ?? '')}`, answer));
}

/** Until a moment after `changed`, what changes its place is seen on its way there. */
export function moving(store: Store, changed: Promise<unknown> = Promise.resolve()): void {
  store.box?.toggleAttribute('data-gliding', true);
  void changed.finally(() => setTimeout(() => store.box?.toggleAttribute('data-gliding', false), 600));
}

export async function tidy(store: Store): Promise<void> {
  const asked = store.ask('tidy');
  moving(store, asked);
  if (!(await asked)) return;
  store.say('tidied; undo brings the places back');
  store.fitAll();
}

export async function pause(store: Store, what: { socket: string } | { processor: string }, on: boolean): Promise<void> {
  const [name, args] =
    'socket' in what ? [what.socket, { sockets: [what.socket] }] : [what.processor, { processors: [what.processor] }];
  if (await store.ask(on ? 'pause' : 'resume', args)) store.say(`${on ? 'paused' : 'resumed'} ${name}`);
}

export async function removeSockets(store: Store, names: string[], force = false): Promise<void> {
  const changes = names.map(name => ({ op: 'remove', name, force }));
  const { panel } = store.view;
  const answer = await store.host.command('edit', { changes });
  if (answer.ok) {
    store.shut(panel);
    store.say(withReceipt(`removed ${names.join(', ')}; undo brings it back`, answer));
    return;
  }
  const box = store.box?.getBoundingClientRect();
  const at = box ? { x: box.left + box.width / 2, y: box.top + box.height / 3 } : null;
  const anyway = { text: 'Remove it and park what waits', run: () => void removeSockets(store, names, true) };
  refuse(store, answer.error ?? 'it was refused', at, force ? undefined : anyway);
}

export async function retry(store: Store, args: { ids: number[] } | { socket: string }): Promise<void> {
  const answer = await store.ask('retry', args);
  if (!answer) return;
  const count = Array.isArray(answer['ids']) ? answer['ids'].length : 0;
  store.say(count === 1 ? 'one request runs again' : `${count} requests run again`);
}
