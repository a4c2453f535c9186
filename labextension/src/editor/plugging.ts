/** Plugging by hand: what the ports look like meanwhile, and what a click on them does. */

import { useConnection } from '@xyflow/react';
import { open, openInto } from './choices';
import { moveEnd, plug, refuse } from './edits';
import { useGraph, useView, type Store } from './store';
import { feeding, ports, verdict } from './wiring';

type Point = { x: number; y: number };

/** Where a plug begins or ends: an argument of a socket, or its output, which has none. */
export interface Port {
  socket: string;
  argument: string | null;
}

export type Argument = Port & { argument: string };

/** The port that a handle of a card stands for. */
export const portOf = (socket: string, handle: string): Port => {
  return { socket, argument: handle.startsWith('in:') ? handle.slice(3) : null };
};

/** Whose output would be plugged if what is dragged from a port were let go on an argument. */
function carried(store: Store, { socket, argument }: Port): string | null {
  if (argument === null) return socket;
  const feeds = store.graph ? feeding(store.graph, socket, argument) : [];
  return feeds.length === 1 ? feeds[0]!.source : null;
}

/** While an output is in the hand or was clicked: whether it fits this argument. */
export function useFitClass(store: Store, target: string, argument: string): string {
  const dragged = useConnection(({ inProgress, fromNode, fromHandle }) =>
    inProgress ? carried(store, portOf(String(fromNode.data['socket']), fromHandle.id ?? '')) : null
  );
  const clicked = useView(store, view => view.plugging);
  const source = dragged ?? clicked;
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

/** A drag from one port was let go on another one. */
export function dropped(store: Store, from: Port, on: Port, at: Point): void {
  if (from.argument === null && on.argument === null) return refuse(store, 'an output plugs into an argument', at);
  if (from.argument !== null && on.argument !== null) return void moveEnd(store, from as Argument, on as Argument, at);
  // dragged from the argument to the output, it is the same plug
  const [source, into] = from.argument === null ? [from, on] : [on, from];
  void plug(store, { source: source.socket, target: into.socket, argument: into.argument! }, at);
}

/** A drag was let go on a card, beside its ports: the one argument that is meant, or the list of them. */
export function droppedOnCard(store: Store, from: Port, card: string, at: Point): void {
  const { graph } = store;
  if (!graph || card === from.socket) return;
  if (from.argument !== null) return void plug(store, { source: card, target: from.socket, argument: from.argument }, at);
  const fits = ports(graph.sockets[card]!).filter(port => verdict(graph, from.socket, card, port.name).ok);
  const free = fits.filter(port => !feeding(graph, card, port.name).length);
  // one that the call cannot do without is meant before one that has a default
  const [first, ...others] = free.some(port => port.required) ? free.filter(port => port.required) : free;
  if (first && !others.length) void plug(store, { source: from.socket, target: card, argument: first.name }, at);
  else openInto(store, from.socket, card, at);
}
