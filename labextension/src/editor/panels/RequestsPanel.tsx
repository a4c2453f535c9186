/** Requests of a socket, and one of them: its error, its arguments, its output. */

import type { JSX } from 'react';
import { useStore } from '../context';
import { retry } from '../edits';
import { Icon, type IconName } from '../icons';
import { ProgressStrip, progressText } from '../ProgressStrip';
import { useCounts } from '../store';
import type { Progress, Shown } from '../types';
import { ValueView } from '../Value';
import { clock, duration } from '../words';
import { useAnswer } from './ask';
import { ValueRow } from './ValueRow';
import { WayButtons } from './WayButtons';
import { ResultView } from './ValuesPanel';

interface Row {
  id: number;
  state: string;
  attempt?: number;
  created?: number | null;
  started?: number | null;
  finished?: number | null;
  progress?: Progress | null;
}

const LIMIT = 100;
const STATES = ['queued', 'delayed', 'asked', 'running', 'done', 'failed', 'waiting', 'cancelled', 'skipped'];

export function RequestsPanel({ socket, state }: { socket: string; state: string | null }): JSX.Element {
  const store = useStore();
  const counts = useCounts(store, socket);
  // asked again when the numbers say that there is something new
  const anew = JSON.stringify({ ...counts, arrived: null });
  const [answer] = useAnswer('requests', { socket, ...(state && { state }), limit: LIMIT, newest: true }, anew);
  const rows = (answer?.['rows'] ?? []) as Row[];
  const failed = rows.filter(row => row.state === 'failed').length;
  const stoppable = ['queued', 'delayed', 'asked', 'waiting', 'running'].includes(state ?? '');
  return (
    <>
      <label>
        <b>state</b>
        <select
          data-first
          value={state ?? ''}
          onChange={event => store.set({ panel: { kind: 'requests', socket, state: event.target.value || null } })}
        >
          <option value="">all</option>
          {STATES.map(one => (
            <option key={one}>{one}</option>
          ))}
        </select>
      </label>
      <div className="ec-acts">
        {failed > 0 && <button onClick={() => void retry(store, { socket })}>Retry all failed</button>}
        {stoppable && rows.length > 0 && (
          <button onClick={() => void store.ask('cancel', { ids: rows.map(row => row.id) })}>Cancel these</button>
        )}
      </div>
      {answer && !answer.ok && <p className="ec-warn">{answer.error}</p>}
      {answer?.ok && !rows.length && <p className="ec-muted">None.</p>}
      <ul className="ec-rows">
        {rows.map(row => (
          <li key={row.id}>
            <button onClick={() => store.set({ panel: { kind: 'request', id: row.id, socket, state } })}>
              <span className={`ec-state ec-is-${row.state}`}>
                <Icon name={(STATES.includes(row.state) && row.state in ICON ? row.state : 'idle') as IconName} />
                {row.state}
              </span>
              <span>request {row.id}</span>
              <span className="ec-muted">{row.progress ? progressText(row.progress) : took(row)}</span>
            </button>
          </li>
        ))}
      </ul>
      {rows.length === LIMIT && <p className="ec-muted">The newest {LIMIT}.</p>}
    </>
  );
}

const ICON = { queued: 1, running: 1, done: 1, failed: 1, waiting: 1 };

function took({ created, started, finished }: Row): string {
  const at = finished ?? started ?? created;
  const time = started && finished ? duration(finished - started) : '';
  return [time, at && clock(at)].filter(Boolean).join(' · ');
}

interface Detail {
  row: Row;
  error: { type: string; message: string; traceback: string } | null;
  arguments: Record<string, { text: string; type: string; size: number }>;
  /** Stream and text; of what the task displayed, the value. */
  output: [string, string | Shown][];
}

export function RequestPanel({ id, socket, state }: { id: number; socket: string; state: string | null }): JSX.Element {
  const store = useStore();
  const counts = useCounts(store, socket);
  const [answer] = useAnswer('request', { id }, `${counts.done} ${counts.failed} ${counts.running} ${counts.queued}`);
  if (!answer) return <p className="ec-muted">Asking…</p>;
  if (!answer.ok) return <p className="ec-warn">{answer.error}</p>;
  const { row, error, arguments: given, output } = answer as unknown as Detail;
  return (
    <>
      <p>
        <span className={`ec-state ec-is-${row.state}`}>{row.state}</span>{' '}
        <span className="ec-muted">
          {row.attempt ? `attempt ${row.attempt} · ` : ''}
          {took(row)}
        </span>
      </p>
      {row.state === 'running' && <Far id={id} socket={socket} />}
      <div className="ec-acts">
        <button data-first onClick={() => store.set({ panel: { kind: 'requests', socket, state } })}>
          <Icon name="back" />
          All
        </button>
        {['failed', 'cancelled'].includes(row.state) && <button onClick={() => void retry(store, { ids: [id] })}>Retry</button>}
        {['queued', 'delayed', 'running', 'waiting'].includes(row.state) && (
          <button onClick={() => void store.ask('cancel', { ids: [id] })}>Cancel</button>
        )}
        <WayButtons id={id} />
        {row.state === 'failed' && (
          <button title="What it should have fed is skipped" onClick={() => void store.ask('discard', { request: id })}>
            Discard
          </button>
        )}
      </div>
      {error && (
        <>
          <p className="ec-warn">
            <b>{error.type}</b>: {error.message}
          </p>
          <pre className="ec-traceback" tabIndex={0} aria-label="Traceback">
            {error.traceback}
          </pre>
        </>
      )}
      <h3>Arguments</h3>
      {Object.entries(given ?? {}).map(([name, value]) => (
        <ValueRow key={name} name={name} {...value} />
      ))}
      {!Object.keys(given ?? {}).length && <p className="ec-muted">none</p>}
      {row.state === 'done' && <Result id={id} />}
      {output?.length > 0 && (
        <>
          <h3>Output</h3>
          <Output chunks={output} />
        </>
      )}
    </>
  );
}

/** What it printed and displayed, in its order. */
function Output({ chunks }: { chunks: Detail['output'] }): JSX.Element {
  const parts: (string | Shown)[] = [];
  for (const [, part] of chunks) {
    const last = parts[parts.length - 1];
    if (typeof part === 'string' && typeof last === 'string') parts[parts.length - 1] = last + part;
    else parts.push(part);
  }
  return (
    <>
      {parts.map((part, at) =>
        typeof part === 'string' ? (
          <pre key={at} tabIndex={0} aria-label="Output">
            {part}
          </pre>
        ) : (
          <div key={at} className="ec-large" role="group" aria-label="Displayed">
            <ValueView shown={part} />
          </div>
        )
      )}
    </>
  );
}

/** How far its task is; asked by itself, for its arguments do not change meanwhile. */
function Far({ id, socket }: { id: number; socket: string }): JSX.Element | null {
  const store = useStore();
  const [answer] = useAnswer('requests', { ids: [id], limit: 1 }, JSON.stringify(useCounts(store, socket).progress));
  const of = ((answer?.['rows'] ?? []) as Row[])[0]?.progress;
  return of ? (
    <p className="ec-far-line">
      <ProgressStrip of={of} label={`Progress of request ${id}`} />
      {progressText(of)}
    </p>
  ) : null;
}

function Result({ id }: { id: number }): JSX.Element {
  return (
    <>
      <h3>Result</h3>
      <ResultView id={id} />
    </>
  );
}
