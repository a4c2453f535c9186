/** Where the arrow keys lead. Pure: a wiring and a place in, the next place out. */

import { entriesOf, foldedInto, groupId, groupsOf } from './frames';
import type { Graph } from './types';
import { feeding, ports, type Place } from './wiring';

export type Way = 'up' | 'down' | 'left' | 'right' | 'first' | 'last';

/** Sockets as one reads them: by columns, each from its top. */
function read(graph: Graph, names: string[]): string[] {
  const box = (name: string) => graph.sockets[name]!.box;
  return [...names].sort((a, b) => box(a)[0] - box(b)[0] || box(a)[1] - box(b)[1]);
}

const inside = (graph: Graph, processor: string): string[] =>
  read(
    graph,
    Object.keys(graph.sockets).filter(name => graph.sockets[name]!.processor === processor)
  );

/** All places from top to bottom: a processor, then each of its groups and sockets with its ports. */
function column(graph: Graph, folded: ReadonlySet<string>): Place[] {
  const into = foldedInto(graph, folded);
  const shown = (names: string[]) => names.filter(name => !into.has(name)).flatMap(socket => placesOf(graph, socket));
  const cards = Object.keys(graph.processors).flatMap((processor): Place[] => [
    { kind: 'processor', processor },
    ...entriesOf(graph, processor, names => read(graph, names)).flatMap(({ group, sockets }) => {
      const drawn = group !== null && sockets.some(name => (into.get(name) ?? groupId(group)) === groupId(group));
      return drawn ? [{ kind: 'group', group } as const, ...shown(sockets)] : shown(sockets);
    })
  ]);
  return [...cards, ...(graph.notes ?? []).map(({ id: note }): Place => ({ kind: 'note', note }))];
}

function placesOf(graph: Graph, socket: string): Place[] {
  const into = ports(graph.sockets[socket]!).map((port): Place => ({ kind: 'argument', socket, argument: port.name }));
  return [{ kind: 'socket', socket }, ...into, { kind: 'output', socket }];
}

function same(one: Place, other: Place): boolean {
  return JSON.stringify(Object.entries(one).sort()) === JSON.stringify(Object.entries(other).sort());
}

export function firstPlace(graph: Graph): Place | null {
  const processor = Object.keys(graph.processors)[0];
  const socket = processor === undefined ? undefined : inside(graph, processor)[0];
  if (socket !== undefined) return { kind: 'socket', socket };
  return processor === undefined ? null : { kind: 'processor', processor };
}

export function step(graph: Graph, folded: ReadonlySet<string>, from: Place, way: Way): Place | null {
  if (way === 'left' || way === 'right') return sideways(graph, from, way);
  const all = column(graph, folded);
  if (way === 'first') return all[0] ?? null;
  if (way === 'last') return all[all.length - 1] ?? null;
  const at = all.findIndex(place => same(place, from));
  return all[at + (way === 'down' ? 1 : -1)] ?? null;
}

/** Left and right follow the plugs. */
function sideways(graph: Graph, from: Place, way: 'left' | 'right'): Place | null {
  switch (from.kind) {
    case 'processor': {
      const first = way === 'right' ? inside(graph, from.processor)[0] : undefined;
      return first === undefined ? null : { kind: 'socket', socket: first };
    }
    case 'group': {
      const first = read(graph, groupsOf(graph).get(from.group) ?? [])[0];
      if (first === undefined) return null;
      if (way === 'right') return { kind: 'socket', socket: first };
      return { kind: 'processor', processor: graph.sockets[first]!.processor };
    }
    case 'socket': {
      if (way === 'right') return { kind: 'output', socket: from.socket };
      const { group, processor } = graph.sockets[from.socket]!;
      return group ? { kind: 'group', group } : { kind: 'processor', processor };
    }
    case 'argument': {
      if (way === 'right') return { kind: 'output', socket: from.socket };
      const plug = feeding(graph, from.socket, from.argument)[0];
      return plug ? { kind: 'output', socket: plug.source } : { kind: 'socket', socket: from.socket };
    }
    case 'output': {
      const plug = graph.plugs.find(one => one.source === from.socket);
      if (way === 'right') return plug ? { kind: 'argument', socket: plug.target, argument: plug.argument } : null;
      const into = ports(graph.sockets[from.socket]!)[0];
      if (into) return { kind: 'argument', socket: from.socket, argument: into.name };
      return { kind: 'socket', socket: from.socket };
    }
    default:
      return null;
  }
}
