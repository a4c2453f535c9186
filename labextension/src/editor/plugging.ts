/** Plugging by hand: what the ports look like meanwhile, and what a click on them does. */

import { useConnection } from '@xyflow/react';
import { open } from './choices';
import { plug, refuse } from './edits';
import { useGraph, useView, type Store } from './store';
import { verdict } from './wiring';

type Point = { x: number; y: number };

/** While an output is in the hand or was clicked: whether it fits this argument. */
export function useFitClass(store: Store, target: string, argument: string): string {
  const dragged = useConnection(connection => (connection.inProgress ? connection.fromNode.data['socket'] : null));
  const clicked = useView(store, view => view.plugging);
  const source = (dragged as string | null) ?? clicked;
  // a primitive, so that only ports whose answer changes draw again
  const fits = useGraph(store, graph => (source && graph ? verdict(graph, source, target, argument).ok : null));
  return fits === null ? '' : fits ? 'ec-fits' : 'ec-unfit';
}

export function outputClick(store: Store, socket: string): void {
  if (store.life === 'static') return;
  const same = store.view.plugging === socket;
  store.set({ plugging: same ? null : socket, refusal: null });
  store.say(same ? 'nothing plugged' : `Plug the output of ${socket}: click an argument, or press Escape`);
}

export function argumentClick(store: Store, target: string, argument: string, at: Point): void {
  const source = store.view.plugging;
  if (source) void plug(store, { source, target, argument }, at);
  else open(store, { kind: 'argument', socket: target, argument }, at);
}

/** A drag ended: `on` is the node and the handle under the pointer. */
export function dropped(store: Store, source: string, on: { socket: string; handle: string } | null, at: Point): void {
  if (!on) return;
  if (!on.handle.startsWith('in:')) refuse(store, 'an output plugs into an argument', at);
  else void plug(store, { source, target: on.socket, argument: on.handle.slice(3) }, at);
}
