/** What is wrong, in one line with its one button: how the numbers are not live, or a node that cannot be reached. */

import { useReactFlow } from '@xyflow/react';
import { useEffect, useRef, useSyncExternalStore, type JSX, type RefObject } from 'react';
import { useStore } from './context';
import { Icon, type IconName } from './icons';
import { inLab, inTab, openTab } from './lab';
import { useLife, useNodeText, useTime, type Store } from './store';
import type { Life } from './types';
import { capital, clock } from './words';

/** Pixels of a card in which its name stands. */
const HEAD = 30;

interface Wrong {
  life: Life | 'node';
  text: string;
  act?: { text: string; run: () => void };
}

export function Banner(): JSX.Element | null {
  const store = useStore();
  const life = useLife(store);
  const time = useTime(store);
  const offline = !useSyncExternalStore(toNetwork, () => navigator.onLine);
  const node = useNodeText(store, nodes => nodes.find(one => one.error && one.state !== 'up')?.name ?? '');
  const wrong = ofLife(store, life, time, offline) ?? ofNode(store, node);
  const box = useClear(store, wrong?.text);
  if (!wrong) return null;
  const icon: IconName = wrong.life === 'busy' || wrong.life === 'starting' ? 'waiting' : 'aside';
  return (
    <div ref={box} className={`ec-banner ec-life ec-life-${wrong.life}`} role="status">
      <Icon name={icon} />
      <span>{wrong.text}</span>
      {wrong.act && <button onClick={wrong.act.run}>{wrong.act.text}</button>}
    </div>
  );
}

function toNetwork(tell: () => void): () => void {
  addEventListener('online', tell);
  addEventListener('offline', tell);
  return () => {
    removeEventListener('online', tell);
    removeEventListener('offline', tell);
  };
}

/** Heads of cards that it would lie over when it comes, or comes to be higher, make way. */
function useClear(store: Store, text: string | undefined): RefObject<HTMLDivElement> {
  const box = useRef<HTMLDivElement>(null);
  const flow = useReactFlow();
  useEffect(() => {
    if (!box.current) return;
    const clear = () => {
      const over = box.current?.getBoundingClientRect();
      const heads = over ? [...(store.box?.querySelectorAll('.ec-card') ?? [])] : [];
      const tops = heads.map(head => head.getBoundingClientRect());
      const under = tops.filter(({ left, right, top }) => left < over!.right && right > over!.left && top < over!.bottom);
      const least = Math.min(...under.filter(({ top }) => top + HEAD > over!.top).map(({ top }) => top));
      const { x, y, zoom } = flow.getViewport();
      if (least < Infinity) void flow.setViewport({ x, y: y + over!.bottom + 6 - least, zoom });
    };
    const observer = new ResizeObserver(() => requestAnimationFrame(clear));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, [store, flow, text]);
  return box;
}

/** What the numbers are worth, where they are not live. */
function ofLife(store: Store, life: Life, time: number, offline: boolean): Wrong | null {
  const { host } = store;
  const Who = capital(host.behind ?? 'kernel');
  const why = capital(host.engine?.text || 'the engine was killed');
  const of = time ? `numbers of ${clock(time)}.` : 'no numbers yet.';
  // what is beyond the network may be well
  if (offline && life === 'gone') return { life, text: `This page is offline: ${of} It goes on once the network is back.` };
  const saved = time ? `${Who} gone: ${of}` : `${Who} gone: the picture as it was saved.`;
  const start = (text: string) => host.start && { act: { text, run: () => host.start!() } };
  switch (life) {
    case 'busy': {
      const text = 'The kernel is busy with a cell: edits are drawn dashed until it hears of them.';
      // the server's way to the flow needs no kernel
      return { life, text, ...(inLab() && !inTab(store) && { act: { text: 'Open in tab', run: () => void openTab(store) } }) };
    }
    case 'gone':
      if (host.revive) return { life, text: saved, act: { text: 'Reconnect', run: () => host.revive!() } };
      return { life, text: `${saved} Run the cell again to bring it back.` };
    case 'starting':
      return { life, text: `The engine is gone and is being started again: ${of}` };
    case 'stopped':
      return { life, text: `Stopped: ${of}`, ...start('Start') };
    case 'killed':
      return { life, text: `${why}: ${of}`, ...start('Start') };
    case 'failed':
      return { life, text: `${host.engine?.text || 'The engine cannot be started'}: ${of}`, ...start('Try again') };
    default:
      return null;
  }
}

function ofNode(store: Store, name: string): Wrong | null {
  const node = store.nodes.find(one => one.name === name);
  if (!node || store.life !== 'live') return null;
  const again = { text: 'Try again', run: () => void store.ask('node', { name }) };
  return { life: 'node', text: `Node ${name} is ${node.state}: ${node.error}`, act: again };
}
