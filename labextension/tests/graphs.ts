/** Small wirings for tests. */

import type { Graph, Plug, Socket } from '../src/editor/types';

export function socket(args: Record<string, string | null>, returns: string | null = null, more: Partial<Socket> = {}): Socket {
  const signature = Object.entries(args).map(([name, annotation]) => ({
    name,
    kind: 'POSITIONAL_OR_KEYWORD',
    required: true,
    default: null,
    annotation
  }));
  const task = { version: 1, source: '', file: '', signature, stale: [], generator: false, parked: false };
  return {
    processor: 'main',
    paused: false,
    box: [0, 0, 232, 176],
    placed: false,
    threads: 1,
    retries: 0,
    timeout: null,
    fixed: {},
    returns,
    doc: '',
    task,
    ...more
  };
}

export function plug(source: string, target: string, argument: string, more: Partial<Plug> = {}): Plug {
  return { id: 1, source, target, argument, on: 'result', map: false, gather: false, when: null, pick: null, ...more };
}

export function graph(sockets: Record<string, Socket>, plugs: Plug[] = []): Graph {
  const processors = { main: { cpus: null, paused: false, memory: null, affinity: null } };
  return { flow: 'demo', revision: 1, processors, sockets, plugs, nodes: [] };
}
