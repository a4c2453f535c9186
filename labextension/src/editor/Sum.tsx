/** What several sockets do, as one: the state that matters most, and what their numbers come to. */

import type { JSX } from 'react';
import { useStore } from './context';
import { Icon, type IconName } from './icons';
import { useGraph, useTextOfAll, type Store } from './store';
import { COUNTED, short, stateOf, stateText } from './words';

type Counted = (typeof COUNTED)[number];

/** Of sockets in several states, theirs is the first of these. */
const ORDER = ['aside', 'parked', 'running', 'asked', 'failed', 'paused', 'queued', 'delayed', 'waiting', 'done', 'idle'];

export function useStateOfAll(store: Store, sockets: string[]): IconName {
  const graph = useGraph(store, known => known);
  return useTextOfAll(store, sockets, counts => {
    const found = sockets.flatMap((name, at) => {
      const socket = graph?.sockets[name];
      return socket ? stateOf(socket, counts[at]!, !!graph.processors[socket.processor]?.paused) : [];
    });
    return (ORDER.find(state => found.includes(state as (typeof found)[number])) ?? 'idle') as (typeof found)[number];
  });
}

/** Sums that are not zero. */
function useSums(store: Store, sockets: string[]): [Counted, number][] {
  const text = useTextOfAll(store, sockets, all =>
    COUNTED.map(state => all.reduce((sum, counts) => sum + (counts[state] ?? 0), 0)).join(' ')
  );
  const sums = text.split(' ').map(Number);
  return COUNTED.map((state, at): [Counted, number] => [state, sums[at]!]).filter(([, sum]) => sum > 0);
}

const many = (sockets: string[]): string => `${sockets.length} socket${sockets.length === 1 ? '' : 's'}`;

export function SumText({ sockets }: { sockets: string[] }): JSX.Element {
  const store = useStore();
  const state = useStateOfAll(store, sockets);
  const sums = useSums(store, sockets).map(([word, sum]) => `${short(sum)} ${word}`);
  return <>{[many(sockets), stateText(state), ...sums].join(', ')}</>;
}

/** On the card of what is folded: each sum leads to the requests that it counts. */
export function Sum({ sockets, of, state }: { sockets: string[]; of: string; state: IconName }): JSX.Element {
  const store = useStore();
  const list = (counted: Counted, at: { x: number; y: number }) => {
    const show = (socket: string) => store.set({ panel: { kind: 'requests', socket, state: counted } });
    const those = sockets.filter(name => store.countsOf(name)[counted]);
    const choices = those.map(name => ({
      text: name,
      hint: `${short(store.countsOf(name)[counted] ?? 0)} ${counted}`,
      run: () => show(name)
    }));
    if (those.length === 1) show(those[0]!);
    else store.set({ chooser: { title: `Those ${counted} in ${of}`, choices, at }, refusal: null });
  };
  return (
    <div className="ec-group-sum">
      <div className="ec-card-line">
        <span className={`ec-state ec-is-${state}`}>
          <Icon name={state} />
          {stateText(state)}
        </span>
        <span className="ec-muted">{many(sockets)}</span>
      </div>
      {useSums(store, sockets).map(([counted, sum]) => (
        <button
          key={counted}
          className={`ec-count nodrag ec-is-${counted}`}
          tabIndex={-1}
          aria-label={`${short(sum)} ${counted} in ${of}`}
          title={`${sum.toLocaleString('en')} ${counted}: show them`}
          onClick={event => list(counted, { x: event.clientX, y: event.clientY })}
        >
          <Icon name={counted} />
          {short(sum)}
        </button>
      ))}
    </div>
  );
}
