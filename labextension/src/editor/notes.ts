/** Notes on the canvas: text that stays with the lay-out of the flow. */

import type { Spot } from './adding';
import { edit } from './edits';
import type { Store } from './store';

/** Makes one, and opens it to be written. */
export async function newNote(store: Store, { x, y }: Spot): Promise<void> {
  const known = new Set(store.graph?.notes?.map(note => note.id));
  const end = store.subscribe('graph', () => {
    const made = store.graph?.notes?.find(note => !known.has(note.id));
    if (!made) return;
    end();
    // drawn first, or there is no field for the focus
    requestAnimationFrame(() => store.set({ writing: made.id }));
  });
  const change = { op: 'note', text: 'Note', place: [Math.round(x), Math.round(y)] };
  if (!(await edit(store, [change], 'a note is on the canvas'))) end();
}

export async function writeNote(store: Store, id: number, text: string): Promise<void> {
  if (!text.trim()) return removeNote(store, id);
  await edit(store, [{ op: 'note', id, text }], 'the note is written');
}

export async function removeNote(store: Store, id: number): Promise<void> {
  await edit(store, [{ op: 'remove_note', id }], 'removed a note; undo brings it back');
}
