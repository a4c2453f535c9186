/** Calls that wait for some of their arguments: what came, from where, since when; supply the rest or throw it away. */

import { useState, type FormEvent, type JSX } from 'react';
import { QuestionView, type Question } from '../Asking';
import { useStore } from '../context';
import { useCounts, useGraph } from '../store';
import type { Answer } from '../types';
import { feeding } from '../wiring';
import { age, bytes } from '../words';
import { useAnswer } from './ask';

interface Arrival {
  id: number;
  type: string;
  size: number;
  source: string | null;
  request: number | null;
  since: number;
  /** Which element of its list, of one that is gathered. */
  at?: number;
}

interface Row {
  run: number;
  party: number;
  tag: string;
  /** Where it stands in lists that were mapped; absent where calls are not told apart by that. */
  element?: number[];
  arguments: Record<string, { state: 'arrived' | 'held' | 'missing' | 'unreachable' | 'stranded'; arrivals: Arrival[] }>;
  stranded: boolean;
  request: number | null;
  /** By argument, the elements that a list lacks. */
  lacks?: Record<string, number[]>;
  /** Why it is set aside. */
  aside?: string;
}

interface Waiting extends Row {
  key: string;
  element: number[];
  lacks: Record<string, number[]>;
}

/** More would be slow to draw; they are told by their number. */
const SHOWN = 50;

const idsOf = (row: Row): number[] => Object.values(row.arguments).flatMap(({ arrivals }) => arrivals.map(one => one.id));

/** Each call that waits once: elements of a list that is gathered come in rows of their own. */
function calls(rows: Row[], gathers: (argument: string) => boolean): Waiting[] {
  const found = new Map<string, Waiting>();
  for (const row of rows) {
    const { element = [], lacks = {} } = row;
    const listed = (name: string) => element.length > 0 && (name in lacks || gathers(name));
    const inside = Object.entries(row.arguments).some(([name, { arrivals }]) => arrivals.length && listed(name));
    const lead = inside ? element.slice(0, -1) : element;
    const key = JSON.stringify(row.element && !row.aside ? [row.party, lead] : idsOf(row));
    const tag = inside ? row.tag.split(';').slice(0, -1).join(';') : row.tag;
    const call = found.get(key) ?? { ...row, key, tag, element: lead, lacks: {}, arguments: {} };
    found.set(key, call);
    call.stranded ||= row.stranded;
    call.request ??= row.request;
    Object.assign(call.lacks, lacks);
    for (const [name, { state, arrivals }] of Object.entries(row.arguments)) {
      const known = (call.arguments[name] ??= { state, arrivals: [] });
      if (arrivals.length) known.state = state;
      known.arrivals.push(...arrivals.map(one => (inside && listed(name) ? { ...one, at: element.at(-1)! } : one)));
    }
  }
  return [...found.values()];
}

export function WaitingPanel({ socket, argument }: { socket: string; argument: string | null }): JSX.Element {
  const store = useStore();
  const { arrived, lists, waiting, asked } = useCounts(store, socket);
  const graph = useGraph(store, known => known);
  const [answer, again] = useAnswer('waiting', { socket }, JSON.stringify([arrived, lists, waiting, asked]));
  const gathers = (name: string) => !!graph && feeding(graph, socket, name).some(plug => plug.gather);
  const rows = (answer?.['rows'] ?? []) as (Row | Question)[];
  const questions = rows.filter((row): row is Question => 'ask' in row);
  const all = calls(
    rows.filter((row): row is Row => !('ask' in row)),
    gathers
  );
  const shown = argument === null ? all : all.filter(call => call.arguments[argument]?.arrivals.length || call.lacks[argument]);
  if (answer && !answer.ok) return <p className="ec-warn">{answer.error}</p>;
  return (
    <>
      {questions.slice(0, SHOWN).map(question => (
        <QuestionView key={question.request} socket={socket} question={question} again={again} />
      ))}
      <More count={questions.length} />
      {answer && !shown.length && !questions.length && <p className="ec-muted">Nothing waits here.</p>}
      {argument !== null && all.length > shown.length && (
        <div className="ec-acts">
          <button onClick={() => store.set({ panel: { kind: 'waiting', socket, argument: null } })}>
            All {all.length} calls that wait at {socket}
          </button>
        </div>
      )}
      {shown.slice(0, SHOWN).map(call => (
        <Call key={call.key} socket={socket} call={call} again={again} />
      ))}
      <More count={shown.length} />
    </>
  );
}

function More({ count }: { count: number }): JSX.Element | null {
  return count > SHOWN ? <p className="ec-muted">{count - SHOWN} more</p> : null;
}

interface CallProps {
  socket: string;
  call: Waiting;
  again: () => void;
}

function Call({ socket, call, again }: CallProps): JSX.Element {
  const store = useStore();
  const { aside, element, lacks, request, run, stranded } = call;
  const arrivals = idsOf(call);
  const act = async (op: string, args: Record<string, unknown>, said: string) => {
    if (await store.ask(op, args)) store.say(`${said} ${socket}`);
    again();
  };
  return (
    <article className="ec-call">
      <h3>
        run {run}
        {element.length > 0 && ` · element ${element.join('.')}`}
        {stranded && <span className="ec-warn"> · stranded: nothing can reach it any more</span>}
      </h3>
      {aside && <p className="ec-warn">Set aside: {aside}</p>}
      {Object.entries(call.arguments).map(([name, { state, arrivals: came }]) => (
        <div key={name} className="ec-value">
          <b>{name}</b> <span className="ec-muted">{lacks[name] ? lacking(name, lacks[name], came.length) : MISSING[state]}</span>
          {came.slice(0, SHOWN).map(one => (
            <ArrivalRow key={one.id} arrival={one} argument={name} again={again} />
          ))}
          <More count={came.length} />
          {!aside && (lacks[name] || state === 'missing' || state === 'unreachable') && (
            <Supply socket={socket} call={call} argument={name} again={again} />
          )}
        </div>
      ))}
      <div className="ec-acts">
        {aside && <button onClick={() => void act('retry', { arrivals }, 'waits again at')}>Retry</button>}
        {arrivals.length > 1 && (
          <button onClick={() => void act('discard', { arrivals }, 'discarded what waited at')}>Discard the call</button>
        )}
        {!arrivals.length && request !== null && (
          <button onClick={() => void act('cancel', { ids: [request] }, 'cancelled a request of')}>Cancel the request</button>
        )}
      </div>
    </article>
  );
}

const MISSING = {
  arrived: '',
  held: 'the value held for all calls',
  missing: 'not here yet',
  unreachable: 'nothing on its way can bring it',
  stranded: 'no argument of the task any more'
};

/** What a list lacks, in the words of a person; the first few by name. */
function lacking(name: string, missing: number[], came: number): string {
  const some = missing.slice(0, 8).map(at => `${name}[${at}]`);
  const more = missing.length > some.length ? ` and ${missing.length - some.length} more` : '';
  return `${came ? 'the list' : 'nothing of the list has come: it'} lacks ${some.join(', ')}${more}`;
}

function ArrivalRow({ arrival, argument, again }: { arrival: Arrival; argument: string; again: () => void }): JSX.Element {
  const store = useStore();
  const [preview] = useAnswer('preview', { arrival: arrival.id });
  const name = arrival.at === undefined ? argument : `${argument}[${arrival.at}]`;
  const discard = async () => {
    if (await store.ask('discard', { arrivals: [arrival.id] })) store.say(`discarded a value of ${argument}`);
    again();
  };
  return (
    <>
      <pre tabIndex={0} aria-label={`Value of ${name}`}>
        {preview ? (preview.ok ? String(preview['text']) : preview.error) : '…'}
      </pre>
      <div className="ec-line-of">
        <span className="ec-muted">
          {name !== argument && `${name} · `}
          {arrival.type}, {bytes(arrival.size)} · {arrival.source ? `from ${arrival.source}` : 'by hand'} ·{' '}
          {age(Date.now() / 1000 - arrival.since)} ago
        </span>
        <button onClick={() => void discard()} aria-label={`Discard value of ${name}`}>
          Discard
        </button>
      </div>
    </>
  );
}

/** Gives an argument its value, or a list one of the elements that it lacks; that may be left out instead. */
function Supply({ socket, call, argument, again }: CallProps & { argument: string }): JSX.Element {
  const store = useStore();
  const [text, setText] = useState('');
  const [at, setAt] = useState('');
  const [error, setError] = useState('');
  const { party, run, tag, element } = call;
  const missing = call.lacks[argument];
  const index = at === '' ? missing?.[0] : Number(at);
  const name = missing ? `${argument}[${index}]` : argument;
  const place = { socket, argument, party, tag };
  // a list stands elsewhere than its elements: there may be nothing yet where the rest of its call belongs
  const one = { ...place, ...(missing ? { element: [...element, index] } : Object.keys(call.lacks).length && { run }) };
  const send = async (asked: Promise<Answer>, said: string) => {
    const answer = await asked;
    setError(answer.ok ? '' : (answer.error ?? 'it was refused'));
    if (!answer.ok) return;
    setAt('');
    setText('');
    store.say(`${said} of ${socket}`);
    again();
  };
  const supply = (event: FormEvent) => {
    event.preventDefault();
    void send(store.command('supply', { ...one, text }), `supplied ${name}`);
  };
  return (
    <form className="ec-line-of" onSubmit={supply}>
      {missing && (
        <input
          className="ec-at"
          type="number"
          min={0}
          aria-label={`Element of ${argument}`}
          title="Which element"
          placeholder={`${missing[0]}`}
          value={at}
          onChange={event => setAt(event.target.value)}
        />
      )}
      <input
        aria-label={`Value for ${argument}`}
        placeholder='3, "text", [1, 2]'
        value={text}
        required
        onChange={event => setText(event.target.value)}
      />
      <button type="submit">Supply</button>
      {missing && (
        <button
          type="button"
          title="The list goes without it"
          onClick={() => void send(store.command('discard', one), `left out ${name}`)}
        >
          Leave out
        </button>
      )}
      {missing && !call.arguments[argument]!.arrivals.length && (
        <button type="button" onClick={() => void send(store.command('discard', place), `discarded ${argument}`)}>
          Discard the list
        </button>
      )}
      {error && (
        <p className="ec-warn" role="alert">
          {error}
        </p>
      )}
    </form>
  );
}
