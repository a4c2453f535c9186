/** What the keys do, in the canvas and anywhere in the editor. */

import type { KeyboardEvent } from 'react';
import { open, palette } from './choices';
import { copy, paste } from './copying';
import { dismiss, plug, removeSockets, undo, unplug } from './edits';
import { askGroup, ungroup } from './groups';
import { removeNote } from './notes';
import { fullScreen } from './saving';
import type { Store } from './store';
import { feeding, findPlug, keyOf, type Place } from './wiring';
import { firstPlace, step, type Way } from './walk';

const WAYS: Record<string, Way> = {
  ArrowUp: 'up',
  ArrowDown: 'down',
  ArrowLeft: 'left',
  ArrowRight: 'right',
  Home: 'first',
  End: 'last'
};

/** The place an element of the canvas stands for. */
export function placeAt(element: EventTarget): Place | null {
  const id = (element as HTMLElement).dataset?.['place'] ?? '';
  const [kind, rest] = [id.slice(0, 2), id.slice(2)];
  if (kind === 'p:') return { kind: 'processor', processor: rest };
  if (kind === 'g:') return { kind: 'group', group: rest };
  if (kind === 's:') return { kind: 'socket', socket: rest };
  if (kind === 't:') return { kind: 'note', note: Number(rest) };
  if (kind === 'o:') return { kind: 'output', socket: rest };
  // an argument is an identifier, a socket's name may hold anything
  const cut = rest.lastIndexOf(':');
  return kind === 'a:' ? { kind: 'argument', socket: rest.slice(0, cut), argument: rest.slice(cut + 1) } : null;
}

export function canvasKey(store: Store, event: KeyboardEvent): void {
  const { graph } = store;
  if (!graph || event.ctrlKey || event.metaKey || event.altKey) return;
  const place = placeAt(event.target);
  const way = WAYS[event.key];
  if (way) {
    const to = place ? step(graph, store.view.folded, place, way) : firstPlace(graph);
    if (to) store.goTo(to);
  } else if (place && (event.key === 'Enter' || event.key === ' ')) {
    enter(store, place, (event.target as HTMLElement).getBoundingClientRect());
  } else if (event.key === 'Delete' || event.key === 'Backspace') {
    remove(store, place);
  } else {
    return;
  }
  event.preventDefault();
  event.stopPropagation();
}

function enter(store: Store, place: Place, box: DOMRect): void {
  const at = { x: box.right, y: box.bottom };
  const source = store.view.plugging;
  if (source && place.kind === 'argument') {
    void plug(store, { source, target: place.socket, argument: place.argument }, at);
  } else {
    open(store, place, at);
  }
}

/** Selected plugs first; else what feeds the focused argument; else the selected or focused sockets. */
export function remove(store: Store, place: Place | null): void {
  const { graph } = store;
  const { plugs, sockets } = store.view.selected;
  if (!graph) return;
  const chosen = plugs.map(key => findPlug(graph, key)).filter(one => one !== undefined);
  if (chosen.length) return void unplug(store, chosen);
  if (place?.kind === 'argument') {
    const feeds = feeding(graph, place.socket, place.argument);
    if (feeds.length < 2) return void unplug(store, feeds);
    return open(store, place);
  }
  if (place?.kind === 'output') return open(store, place);
  if (place?.kind === 'note') return void removeNote(store, place.note);
  if (place?.kind === 'group') {
    // the group goes, and the keys with it that it would have
    store.box?.querySelector<HTMLElement>('.ec-canvas')?.focus({ preventScroll: true });
    return void ungroup(store, place.group);
  }
  if (place?.kind === 'plug')
    return void unplug(
      store,
      graph.plugs.filter(one => keyOf(one) === place.key)
    );
  const names = sockets.length ? sockets : place?.kind === 'socket' ? [place.socket] : [];
  if (names.length) void removeSockets(store, names);
}

/** A check or a choice has no text that a key could mean. */
const typing = (element: EventTarget): boolean =>
  element instanceof HTMLTextAreaElement ||
  (element instanceof HTMLInputElement && !['checkbox', 'radio'].includes(element.type));

/** Keys that work wherever the focus is in the editor. */
export function editorKey(store: Store, event: KeyboardEvent): void {
  if (event.key === 'Escape') escape(store);
  else if (event.key === 'Delete' && !typing(event.target)) removeFrom(store, event.target as HTMLElement);
  else if (!shortcut(store, event)) return;
  else event.preventDefault();
  event.stopPropagation();
}

/** Delete where no place has the focus: what is selected goes; in a panel, the plug that it shows. */
function removeFrom(store: Store, element: HTMLElement): void {
  const { panel } = store.view;
  if (!element.closest('.ec-panel')) remove(store, null);
  else if (panel?.kind === 'plug') remove(store, panel);
}

function shortcut(store: Store, event: KeyboardEvent): boolean {
  const key = event.key.toLowerCase();
  if (!(event.ctrlKey || event.metaKey)) {
    if (typing(event.target) || event.altKey) return false;
    if (key === '?') store.set({ panel: { kind: 'help' } });
    else if (key === 'f' && document.fullscreenEnabled) void fullScreen(store);
    else return false;
    return true;
  }
  if (key === 'k') palette(store);
  // in a field these are the field's, and marked text is the browser's to copy
  else if (typing(event.target)) return false;
  else if (key === 'z') void undo(store, event.shiftKey ? 'redo' : 'undo');
  else if (key === 'y') void undo(store, 'redo');
  else if (key === 'g') return groupKey(store, event);
  else if (key === 'c') return !String(getSelection()) && copy(store);
  else if (key === 'v') void paste(store);
  else return false;
  return true;
}

/** Groups the selected sockets, or the one that has the focus; with Shift, dissolves the group that has it, or they are in. */
function groupKey(store: Store, { target, shiftKey }: KeyboardEvent): boolean {
  const at = placeAt(target);
  const { sockets } = store.view.selected;
  const focused = at && 'socket' in at ? [at.socket] : [];
  const chosen = sockets.length ? sockets : focused;
  if (!shiftKey) return chosen.length > 0 && askGroup(store, chosen);
  const group = at?.kind === 'group' ? at.group : chosen.map(name => store.graph?.sockets[name]?.group).find(Boolean);
  if (group) void ungroup(store, group);
  return !!group;
}

/** The innermost thing that is open goes. */
function escape(store: Store): void {
  const { plugging, refusal, chooser, panel } = store.view;
  if (store.inHand) {
    store.inHand = false;
    // what follows the pointer ends with its button alone
    document.dispatchEvent(new MouseEvent('mouseup', { bubbles: true, view: window }));
    store.say('nothing changed');
  } else if (chooser) store.set({ chooser: null });
  else if (refusal) dismiss(store);
  else if (plugging) {
    store.set({ plugging: null });
    store.say('nothing plugged');
  } else if (panel) store.set({ panel: null });
  else if (store.story.on) store.story.clear();
  else if (store.past.on) store.past.back();
  else if (store.past.since) store.past.shut();
}
