/** Copy and paste of plugs. Sockets are functions of cells, and cannot be copied from here. */

import { edit, plugChange } from './edits';
import type { Store } from './store';
import type { Graph, Plug } from './types';
import { feeding, keyOf, ports, verdict } from './wiring';

/** A copied plug, and the end that stays when it is pasted: the other one becomes the selected socket. */
interface Copied {
  plug: Plug;
  keeps: 'source' | 'target' | 'either';
}

/** Selected plugs; without any, every plug into and out of the selected sockets. */
export function copy(store: Store): boolean {
  const { graph } = store;
  const { plugs, sockets } = store.view.selected;
  if (!graph) return false;
  const copied: Copied[] = plugs.length
    ? graph.plugs.filter(plug => plugs.includes(keyOf(plug))).map(plug => ({ plug, keeps: 'either' }))
    : graph.plugs.flatMap((plug): Copied[] => [
        ...(sockets.includes(plug.target) ? [{ plug, keeps: 'source' as const }] : []),
        ...(sockets.includes(plug.source) ? [{ plug, keeps: 'target' as const }] : [])
      ]);
  if (!copied.length) return false;
  store.clipboard = copied;
  store.say(`${count(copied.length)} copied; select a socket and paste`);
  return true;
}

export async function paste(store: Store): Promise<void> {
  const { graph } = store;
  const copied = store.clipboard as Copied[] | null;
  const onto = store.view.selected.sockets;
  if (!graph) return;
  if (!copied) return store.say('nothing is copied: select plugs or a socket, then Ctrl+C');
  if (!onto.length) return store.say('select the socket that takes the copied plugs');
  const made = onto.flatMap(socket => copied.map(one => pasted(graph, one, socket)));
  const plugs = made.filter(one => one !== null);
  if (!plugs.length) return store.say(`none of the copied plugs fits ${onto.join(', ')}`);
  const left = made.length - plugs.length;
  await edit(
    store,
    plugs.map(plugChange),
    `${count(plugs.length)} pasted onto ${onto.join(', ')}` + (left ? `; ${left} did not fit` : '')
  );
}

/** The copied plug with one end at `socket`: into its argument of that name, else out of it. */
function pasted(graph: Graph, { plug, keeps }: Copied, socket: string): Plug | null {
  const takes = ports(graph.sockets[socket]!).some(port => port.name === plug.argument);
  const candidates: Plug[] = [];
  if (keeps !== 'target' && takes && plug.target !== socket) candidates.push({ ...plug, target: socket });
  if (keeps !== 'source' && plug.source !== socket) candidates.push({ ...plug, source: socket });
  return candidates.find(one => free(graph, one)) ?? null;
}

function free(graph: Graph, plug: Plug): boolean {
  const there = feeding(graph, plug.target, plug.argument);
  if (there.some(other => keyOf(other) === keyOf(plug))) return false;
  // options change what arrives, so types say nothing of a plug with options
  if (plug.map || plug.gather || plug.on === 'error') return plug.source !== plug.target;
  return verdict(graph, plug.source, plug.target, plug.argument).ok;
}

function count(plugs: number): string {
  return plugs === 1 ? '1 plug' : `${plugs} plugs`;
}
