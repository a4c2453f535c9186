/** Sockets that come from the canvas: a cell with their skeleton, and the plug and the place they get once it has run. */

import { edit, plugChange, refuse } from './edits';
import type { Store } from './store';
import type { Graph } from './types';
import { outputType, plugName, ports, verdict } from './wiring';

export interface Spot {
  x: number;
  y: number;
}

/** What a person wants at a spot of the canvas. */
export interface Wanted {
  /** The socket that it is plugged to, or null. */
  source: string | null;
  spot: Spot;
  processor: string | null;
}

const NAME = /^[\p{L}_][\p{L}\p{N}_]*$/u;
/** Annotations that mean the same in every notebook. */
const BUILTIN = /^(?:bool|int|float|complex|str|bytes|list|tuple|dict|set|None|object|[[\], |])+$/;

export function freeName(graph: Graph): string {
  for (let at = 1; ; at++) {
    const name = at === 1 ? 'task' : `task_${at}`;
    if (!graph.sockets[name]) return name;
  }
}

/** Why a new socket may not be called so, or null. */
export function nameTrouble(graph: Graph, name: string): string | null {
  if (!NAME.test(name)) return `${JSON.stringify(name)} is no name of a Python function`;
  return graph.sockets[name] ? `there is a socket ${name} already` : null;
}

/** The cell that makes it. */
export function skeleton(graph: Graph, name: string, { source, processor }: Wanted): string {
  const given = source === null ? null : outputType(graph.sockets[source]!);
  const parameter = source === null ? '' : given && BUILTIN.test(given) ? `value: ${given}` : 'value';
  const option = processor && processor !== 'main' ? ` --processor ${processor}` : '';
  return `%%ec_socket${option}\ndef ${name}(${parameter}):\n    return ${parameter ? 'value' : 'None'}`;
}

/** Once the flow has the socket, it is put where it was wanted and plugged, in one edit. */
export function expect(store: Store, name: string, wanted: Wanted): void {
  const end = store.subscribe('graph', () => {
    if (!store.graph?.sockets[name]) return;
    end();
    void settle(store, store.graph, name, wanted);
  });
}

async function settle(store: Store, graph: Graph, name: string, { source, spot }: Wanted): Promise<void> {
  const place = { op: 'position', positions: { [name]: [Math.round(spot.x), Math.round(spot.y)] } };
  const argument = ports(graph.sockets[name]!)[0]?.name;
  if (source === null || argument === undefined || !graph.sockets[source]) return void edit(store, [place], `${name} is made`);
  const { ok, reason } = verdict(graph, source, name, argument);
  const ends = { source, target: name, argument, on: 'result' as const };
  if (ok) return void edit(store, [place, plugChange({ ...ends, map: false, gather: false })], `plugged ${plugName(ends)}`);
  await edit(store, [place], `${name} is made`);
  refuse(store, reason!, null);
}
