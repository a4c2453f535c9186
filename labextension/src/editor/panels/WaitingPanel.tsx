/** Calls that wait for some of their arguments: what came, from where, since when; supply the rest or throw it away. */

import { useState, type FormEvent, type JSX } from 'react';
import { useStore } from '../context';
import { useCounts } from '../store';
import { age, bytes } from '../words';
import { useAnswer } from './ask';

interface Arrival {
  id: number;
  type: string;
  size: number;
  source: string | null;
  request: number | null;
  since: number;
}

interface Row {
  run: number;
  party: number;
  tag: unknown;
  arguments: Record<string, { state: 'arrived' | 'held' | 'missing' | 'unreachable'; arrivals: Arrival[] }>;
  stranded: boolean;
  request: number | null;
}

/** More would be slow to draw; they are told by their number. */
const SHOWN = 50;

export function WaitingPanel({ socket, argument }: { socket: string; argument: string | null }): JSX.Element {
  const store = useStore();
  const counts = useCounts(store, socket);
  const [answer, again] = useAnswer('waiting', { socket }, `${JSON.stringify(counts.arrived)} ${counts.waiting}`);
  const all = (answer?.['rows'] ?? []) as Row[];
  const rows = argument === null ? all : all.filter(row => row.arguments[argument]?.arrivals.length);
  if (answer && !answer.ok) return <p className="ec-warn">{answer.error}</p>;
  return (
    <>
      {answer && !rows.length && <p className="ec-muted">Nothing waits here.</p>}
      {argument !== null && all.length > rows.length && (
        <div className="ec-acts">
          <button onClick={() => store.set({ panel: { kind: 'waiting', socket, argument: null } })}>
            All {all.length} calls that wait at {socket}
          </button>
        </div>
      )}
      {rows.slice(0, SHOWN).map(row => (
        <Call key={JSON.stringify([row.party, row.tag, row.request])} socket={socket} row={row} again={again} />
      ))}
      {rows.length > SHOWN && <p className="ec-muted">{rows.length - SHOWN} more</p>}
    </>
  );
}

function Call({ socket, row, again }: { socket: string; row: Row; again: () => void }): JSX.Element {
  const store = useStore();
  const arrivals = Object.values(row.arguments).flatMap(of => of.arrivals);
  const discard = async () => {
    // one after the other: the last of them ends the call
    const ids = row.request === null ? arrivals.map(one => ({ arrival: one.id })) : [{ request: row.request }];
    for (const id of ids) if (!(await store.ask('discard', id))) break;
    store.say(`discarded what waited at ${socket}`);
    again();
  };
  return (
    <article className="ec-call">
      <h3>
        run {row.run}
        {Array.isArray(row.tag) && row.tag.length > 0 && ` · element ${row.tag.map(part => String(part)).join('.')}`}
        {row.stranded && <span className="ec-warn"> · stranded: nothing can reach it any more</span>}
      </h3>
      {Object.entries(row.arguments).map(([name, { state, arrivals: came }]) => (
        <div key={name} className="ec-value">
          <b>{name}</b> {state !== 'arrived' && <span className="ec-muted">{MISSING[state]}</span>}
          {came.map(one => (
            <ArrivalRow key={one.id} arrival={one} argument={name} again={again} />
          ))}
          {(state === 'missing' || state === 'unreachable') && <Supply socket={socket} row={row} argument={name} again={again} />}
        </div>
      ))}
      {arrivals.length > 1 && <button onClick={() => void discard()}>Discard the call</button>}
    </article>
  );
}

const MISSING = {
  arrived: '',
  held: 'the value held for all calls',
  missing: 'not here yet',
  unreachable: 'nothing on its way can bring it'
};

function ArrivalRow({ arrival, argument, again }: { arrival: Arrival; argument: string; again: () => void }): JSX.Element {
  const store = useStore();
  const [preview] = useAnswer('preview', { arrival: arrival.id });
  const discard = async () => {
    if (await store.ask('discard', { arrival: arrival.id })) store.say(`discarded a value of ${argument}`);
    again();
  };
  return (
    <>
      <pre tabIndex={0} aria-label={`Value of ${argument}`}>
        {preview ? (preview.ok ? String(preview['text']) : preview.error) : '…'}
      </pre>
      <div className="ec-line-of">
        <span className="ec-muted">
          {arrival.type}, {bytes(arrival.size)} · {arrival.source ? `from ${arrival.source}` : 'by hand'} ·{' '}
          {age(Date.now() / 1000 - arrival.since)} ago
        </span>
        <button onClick={() => void discard()} aria-label={`Discard value of ${argument}`}>
          Discard
        </button>
      </div>
    </>
  );
}

interface SupplyProps {
  socket: string;
  row: Row;
  argument: string;
  again: () => void;
}

function Supply({ socket, row, argument, again }: SupplyProps): JSX.Element {
  const store = useStore();
  const [text, setText] = useState('');
  const [error, setError] = useState('');
  const supply = async (event: FormEvent) => {
    event.preventDefault();
    const answer = await store.command('supply', { socket, party: row.party, tag: row.tag, argument, text });
    setError(answer.ok ? '' : (answer.error ?? 'it was refused'));
    if (!answer.ok) return;
    store.say(`supplied ${argument} of ${socket}`);
    again();
  };
  return (
    <form className="ec-line-of" onSubmit={event => void supply(event)}>
      <input
        aria-label={`Value for ${argument}`}
        placeholder='3, "text", [1, 2]'
        value={text}
        required
        onChange={event => setText(event.target.value)}
      />
      <button type="submit">Supply</button>
      {error && (
        <p className="ec-warn" role="alert">
          {error}
        </p>
      )}
    </form>
  );
}
