/** Questions one asks of a wiring. Pure. */

import { fit, yielded } from './fit';
import type { Graph, Parameter, Plug, Socket } from './types';

/** A thing of the picture that a person can stand on, open or change. */
export type Place =
  | { kind: 'processor'; processor: string }
  | { kind: 'group'; group: string }
  | { kind: 'socket'; socket: string }
  | { kind: 'argument'; socket: string; argument: string }
  | { kind: 'output'; socket: string }
  | { kind: 'plug'; key: string }
  | { kind: 'node'; node: string }
  | { kind: 'note'; note: number };

/** One plug, by what makes it that plug; its number changes when it is undone and made again. */
export type Ends = Pick<Plug, 'source' | 'target' | 'argument' | 'on'>;

export function keyOf(plug: Ends): string {
  return JSON.stringify([plug.source, plug.target, plug.argument, plug.on]);
}

export function placeId(place: Place): string {
  switch (place.kind) {
    case 'processor':
      return `p:${place.processor}`;
    case 'group':
      return `g:${place.group}`;
    case 'socket':
      return `s:${place.socket}`;
    case 'argument':
      return `a:${place.socket}:${place.argument}`;
    case 'output':
      return `o:${place.socket}`;
    case 'plug':
      return `e:${place.key}`;
    case 'node':
      return `n:${place.node}`;
    case 'note':
      return `t:${place.note}`;
  }
}

export function plugName(plug: Ends): string {
  return `${plug.source} → ${plug.target}.${plug.argument}${plug.on === 'error' ? ' on error' : ''}`;
}

/** Arguments that a plug can feed. */
export function ports(socket: Socket): Parameter[] {
  return socket.task.signature.filter(parameter => !parameter.kind.startsWith('VAR_'));
}

/** What one arrival of the socket's output is. */
export function outputType(socket: Socket): string | null {
  return socket.returns && socket.task.generator ? yielded(socket.returns) : socket.returns;
}

export function findPlug(graph: Graph, key: string): Plug | undefined {
  return graph.plugs.find(plug => keyOf(plug) === key);
}

export function feeding(graph: Graph, socket: string, argument: string): Plug[] {
  return graph.plugs.filter(plug => plug.target === socket && plug.argument === argument);
}

function reaches(graph: Graph, from: string, to: string): boolean {
  const seen = new Set<string>([from]);
  for (const socket of seen) {
    if (socket === to) return true;
    for (const plug of graph.plugs) if (plug.source === socket) seen.add(plug.target);
  }
  return false;
}

/** What a plug would meet: `reason` is why not, `remedy` the options with which it would be right. */
export interface Verdict {
  ok: boolean;
  reason?: string;
  remedy?: { text: string; options: Record<string, unknown> };
}

export function verdict(graph: Graph, source: string, target: string, argument: string): Verdict {
  const [from, to] = [graph.sockets[source], graph.sockets[target]];
  const parameter = to && ports(to).find(one => one.name === argument);
  if (!from || !parameter) return { ok: false, reason: `${target}.${argument} is not there` };
  if (feeding(graph, target, argument).some(plug => plug.source === source && plug.on === 'result')) {
    return { ok: false, reason: `${source} feeds ${target}.${argument} already` };
  }
  const [given, wanted] = [outputType(from), parameter.annotation];
  const type = fit(given, wanted);
  if (!type.ok) {
    const reason = `${given} of ${source} does not fit ${wanted} of ${target}.${argument}`;
    const remedy = type.how && REMEDIES[type.how];
    return remedy ? { ok: false, reason, remedy } : { ok: false, reason };
  }
  if (reaches(graph, target, source)) {
    const reason = `${source} → ${target} would close a cycle`;
    return { ok: false, reason, remedy: { text: 'Plug it as a cycle', options: { cycle: true } } };
  }
  return { ok: true };
}

const REMEDIES = {
  map: { text: 'Plug with map: a call per element', options: { map: true } },
  gather: { text: 'Plug with gather: one list of all elements', options: { gather: true } }
};

/** The same graph, keeping of `old` every record that did not change, so that only what changed is drawn again. */
export function shared(old: Graph | null, graph: Graph): Graph {
  if (!old) return graph;
  const same = <T>(before: T | undefined, now: T): T =>
    before !== undefined && JSON.stringify(before) === JSON.stringify(now) ? before : now;
  const records = <T>(before: Record<string, T>, now: Record<string, T>): Record<string, T> =>
    Object.fromEntries(Object.entries(now).map(([name, record]) => [name, same(before[name], record)]));
  const plugs = new Map(old.plugs.map(plug => [plug.id, plug]));
  return {
    ...graph,
    sockets: records(old.sockets, graph.sockets),
    processors: records(old.processors, graph.processors),
    plugs: graph.plugs.map(plug => same(plugs.get(plug.id), plug))
  };
}
