/** What lies around cards: processors, and groups of sockets. Folded, each is one card. Pure. */

import type { Graph } from './types';

export const processorId = (processor: string): string => `p:${processor}`;
export const groupId = (group: string): string => `g:${group}`;

/** Names of the sockets in each group, in the order in which they were made. */
export function groupsOf(graph: Graph): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [name, { group }] of Object.entries(graph.sockets)) {
    if (group) found.set(group, [...(found.get(group) ?? []), name]);
  }
  return found;
}

/** The processor that all sockets of a group are on; null where they are on several. */
export function processorOf(graph: Graph, sockets: string[]): string | null {
  const [first, ...others] = new Set(sockets.map(name => graph.sockets[name]!.processor));
  return first === undefined || others.length ? null : first;
}

/** The folded frame that each socket is drawn as, of those in one: the outer one, where one is inside the other. */
export function foldedInto(graph: Graph, folded: ReadonlySet<string>): Map<string, string> {
  const found = new Map<string, string>();
  if (!folded.size) return found;
  for (const [name, { processor }] of Object.entries(graph.sockets)) {
    if (folded.has(processorId(processor))) found.set(name, processorId(processor));
  }
  for (const [group, sockets] of groupsOf(graph)) {
    const around = processorOf(graph, sockets);
    if (!folded.has(groupId(group)) || (around !== null && folded.has(processorId(around)))) continue;
    for (const name of sockets) found.set(name, groupId(group));
  }
  return found;
}

/** What is read below a processor, in the order of `names`: a socket by itself, or a group with all of its sockets. */
export interface Entry {
  group: string | null;
  sockets: string[];
}

/** A group that is on several processors is read below that of its first socket. */
export function entriesOf(graph: Graph, processor: string, order: (names: string[]) => string[]): Entry[] {
  const groups = groupsOf(graph);
  const home = (group: string) => graph.sockets[groups.get(group)![0]!]!.processor;
  const own = order(Object.keys(graph.sockets).filter(name => graph.sockets[name]!.processor === processor));
  const here = new Set<string>();
  return own.flatMap((name): Entry[] => {
    const group = graph.sockets[name]!.group ?? null;
    if (group === null) return [{ group, sockets: [name] }];
    if (here.has(group) || home(group) !== processor) return [];
    here.add(group);
    return [{ group, sockets: order(groups.get(group)!) }];
  });
}
