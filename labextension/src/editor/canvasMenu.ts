/** What the canvas itself offers: after a double click, a plug let go over nothing, or its menu; and the menus of what lies on it. */

import type { MouseEvent } from 'react';
import type { Spot } from './adding';
import { into, open, palette } from './choices';
import { tidy } from './edits';
import { placeAt } from './keys';
import { newNote } from './notes';
import type { Choice, Store } from './store';
import { keyOf, type Place } from './wiring';

interface Point {
  x: number;
  y: number;
}

/** Opens the list of what can be made at a spot; `source` is the socket whose output was let go there. */
export function offer(store: Store, at: Point, spot: Spot, processor: string | null, source: string | null = null): void {
  if (store.life === 'static') return;
  const socket: Choice = {
    text: source ? `New socket fed by ${source}` : 'New socket',
    hint: 'a cell with its skeleton',
    run: () => store.set({ panel: { kind: 'newSocket', wanted: { source, spot, processor } } })
  };
  const rest: Choice[] = [
    { text: 'Note', hint: 'text on the canvas', run: () => void newNote(store, spot) },
    { text: 'Add a processor', run: () => store.set({ panel: { kind: 'add' } }) },
    { text: 'Add a node', run: () => store.set({ panel: { kind: 'addNode' } }) },
    { text: 'Fit the picture', run: () => store.fitAll() },
    { text: 'Tidy', hint: 'lay everything out anew', run: () => void tidy(store) },
    { text: 'Search', hint: 'Ctrl+K', run: () => palette(store) }
  ];
  const title = source ? `Plug the output of ${source} into` : 'Add to the picture';
  store.set({
    chooser: { title, choices: [socket, ...(source && store.graph ? into(store, store.graph, source, at) : rest)], at },
    refusal: null
  });
}

/** The menu of what lies under the pointer or has the focus; of the canvas, `elsewhere`. */
export function menu(store: Store, event: MouseEvent, elsewhere: (at: Point) => void): void {
  const target = event.target as HTMLElement;
  // in a text the browser's own is of more use
  if (target.closest('input, textarea, iframe') || String(getSelection())) return;
  event.preventDefault();
  const at = pointed(event, target);
  const place = placeOf(store, target);
  if (place) open(store, place, at);
  else elsewhere(at);
}

/** Asked for by the keyboard, it opens at what has the focus. */
function pointed({ clientX: x, clientY: y }: MouseEvent, target: HTMLElement): Point {
  const box = target.getBoundingClientRect();
  const inside = x >= box.left && x <= box.right && y >= box.top && y <= box.bottom;
  return inside ? { x, y } : { x: box.left + box.width / 2, y: box.top + box.height / 2 };
}

function placeOf(store: Store, target: HTMLElement): Place | null {
  const edge =
    target.closest<HTMLElement>('.react-flow__edge')?.dataset['id'] ??
    target.closest<HTMLElement>('[data-plug]')?.dataset['plug'];
  const plug = edge === undefined ? undefined : store.graph?.plugs.find(one => keyOf(one) === edge);
  if (plug) return { kind: 'plug', key: keyOf(plug) };
  const found = target.closest<HTMLElement>('[data-place]');
  return found && placeAt(found);
}
