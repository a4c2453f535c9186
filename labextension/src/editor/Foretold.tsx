/** What would become of what is under way, while a plug or a card is in the hand or something is selected that Delete removes. */

import { useConnection } from '@xyflow/react';
import { useEffect, useState, type JSX } from 'react';
import { useStore } from './context';
import { unplugChange } from './edits';
import { foretell, type Change } from './receipts';
import { useGraph, useView } from './store';
import { findPlug, verdict } from './wiring';

/** Milliseconds for which nothing else is chosen before it is asked. */
const REST = 150;

export function Foretold(): JSX.Element | null {
  const store = useStore();
  const plug = useHeldPlug();
  const move = useHeldCards();
  const remove = useSelected();
  const key = plug ?? move ?? remove;
  const [told, setTold] = useState({ key: '', text: '' });
  const revision = useGraph(store, graph => graph?.revision);
  useEffect(() => {
    if (!key) return;
    let gone = false;
    const timer = setTimeout(() => {
      void foretell(store, JSON.parse(key) as Change[]).then(text => {
        if (!gone) setTold({ key, text });
      });
    }, REST);
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [store, key, revision]);
  if (!key || told.key !== key || !told.text) return null;
  return (
    <span className="ec-foretold" role="status" title={told.text}>
      {plug ? 'plugged here' : move ? `on ${store.view.drop}` : 'Delete'}: {told.text}
    </span>
  );
}

/** The edit that letting go of a plug here makes, as JSON. */
function useHeldPlug(): string | null {
  const store = useStore();
  const ends = useConnection(({ inProgress, fromNode, fromHandle, toNode, toHandle }) => {
    if (!inProgress || !toNode || !toHandle) return null;
    const [out, into] = fromHandle.type === 'source' ? [fromNode, toNode] : [toNode, fromNode];
    const port = (fromHandle.type === 'source' ? toHandle : fromHandle).id ?? '';
    const [source, target] = [out.data['socket'], into.data['socket']];
    if (typeof source !== 'string' || typeof target !== 'string' || !port.startsWith('in:')) return null;
    // a primitive, so that only another port draws again
    return JSON.stringify([source, target, port.slice(3)]);
  });
  if (!ends || !store.graph) return null;
  const [source, target, argument] = JSON.parse(ends) as [string, string, string];
  if (!verdict(store.graph, source, target, argument).ok) return null;
  return JSON.stringify([{ op: 'plug', source, target, argument }]);
}

/** The edit that letting go of cards over this processor makes, as JSON. */
function useHeldCards(): string | null {
  const store = useStore();
  const processor = useView(store, view => view.drop);
  const moved = store.held.filter(name => (store.graph?.sockets[name]?.processor ?? processor) !== processor);
  if (processor === null || !moved.length) return null;
  return JSON.stringify(moved.map(socket => ({ op: 'move', socket, processor })));
}

/** The edit that Delete makes of what is selected, as JSON. */
function useSelected(): string | null {
  const store = useStore();
  const { sockets, plugs } = useView(store, view => view.selected);
  const graph = store.graph;
  if (!graph || (!sockets.length && !plugs.length)) return null;
  const found = plugs.flatMap(key => findPlug(graph, key) ?? []).map(unplugChange);
  const gone = sockets.filter(name => graph.sockets[name]).map(name => ({ op: 'remove', name, force: true }));
  return JSON.stringify([...found, ...gone]);
}
