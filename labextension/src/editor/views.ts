/** What is looked at beside the flow itself: rates on its cards, its log, its last hour. */

import type { Kind } from './panels/course';
import { tabsOf } from './panels/tabs';
import { recall, remember } from './remembered';
import type { Panel, Store } from './store';

/** Rates on the cards, or none: for every picture from now on. */
export function showRates(store: Store, rates: boolean): void {
  remember('rates', rates ? 'shown' : null);
  store.set({ rates });
}

/** What there is of a socket, a processor, a group or a node, at the tab that was open last. */
export function showPlace(store: Store, place: Extract<Panel, { kind: 'socket' | 'processor' | 'group' | 'node' }>): void {
  const last = recall(`panel-tab-${place.kind}`);
  store.set({ panel: tabsOf(place).find(({ text }) => text === last)?.panel ?? place });
}

export function showLog(store: Store, socket: string | null = null, request: number | null = null): void {
  store.set({ panel: { kind: 'log', socket, run: null, request, level: 'info', text: '' } });
}

export function showMetrics(store: Store, of: Kind | null = null, name: string | null = null): void {
  store.set({ panel: { kind: 'metrics', of, name } });
}
