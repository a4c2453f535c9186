/** Results of a socket, one at a time and large: the newest first, of one run or of all. */

import { useEffect, type JSX } from 'react';
import { useStore } from '../context';
import { Icon } from '../icons';
import type { Shown } from '../types';
import { ValueView } from '../Value';
import { bytes, clock, duration } from '../words';
import { useAnswer } from './ask';
import { WayButtons } from './WayButtons';

const LIMIT = 500;

interface Row {
  id: number;
  run: number;
  started?: number | null;
  finished?: number | null;
}

export function ValuesPanel({ socket, id, run }: { socket: string; id: number | null; run: number | null }): JSX.Element {
  const store = useStore();
  const asked = { socket, state: 'done', newest: true, limit: LIMIT, ...(run !== null && { run }) };
  const [answer, again] = useAnswer('requests', asked);
  const rows = (answer?.['rows'] ?? []) as Row[];
  const at = id === null ? 0 : rows.findIndex(row => row.id === id);
  const row = rows[at];
  const now = row?.id ?? id;
  const go = (to: Row | undefined) => to && store.set({ panel: { kind: 'values', socket, id: to.id, run } });
  // once it is known whose value it is, its place in the list is known, too
  const missing = answer?.ok && id !== null && at < 0 && rows.length > 0 && rows[0]!.id < id;
  useEffect(() => {
    if (missing) again();
  }, [missing, again]);
  return (
    <>
      <div className="ec-acts" role="group" aria-label="Values">
        <button
          aria-label="Older value"
          title="The one before"
          disabled={at < 0 || at >= rows.length - 1}
          onClick={() => go(rows[at + 1])}
        >
          <Icon name="back" />
        </button>
        <span className="ec-number" role="status">
          {rows.length
            ? `${(rows.length - Math.max(at, 0)).toLocaleString('en')} of ${rows.length.toLocaleString('en')}${rows.length === LIMIT ? ', the newest' : ''}`
            : ''}
        </span>
        <button aria-label="Newer value" title="The one after" disabled={at <= 0} onClick={() => go(rows[at - 1])}>
          <Icon name="open" />
        </button>
        <button data-first onClick={() => (again(), store.set({ panel: { kind: 'values', socket, id: null, run } }))}>
          Newest
        </button>
        {row && (
          <label className="ec-check ec-of-run">
            <input
              type="checkbox"
              checked={run !== null}
              onChange={event =>
                store.set({ panel: { kind: 'values', socket, id: row.id, run: event.target.checked ? row.run : null } })
              }
            />
            of its run alone
          </label>
        )}
      </div>
      {answer && !answer.ok && <p className="ec-warn">{answer.error}</p>}
      {answer?.ok && !rows.length && <p className="ec-muted">No result yet.</p>}
      {now !== null && now !== undefined && <ResultView id={now} />}
      {row && (
        <div className="ec-acts">
          <button onClick={() => store.set({ panel: { kind: 'request', id: row.id, socket, state: 'done' } })}>
            Request {row.id}: what it got
          </button>
          <WayButtons id={row.id} />
          <span className="ec-muted">
            {[row.started && row.finished ? duration(row.finished - row.started) : '', row.finished ? clock(row.finished) : '']
              .filter(Boolean)
              .join(' · ')}
          </span>
        </div>
      )}
    </>
  );
}

/** The result of a request; until the answer for the next one is there, the one before stays. */
export function ResultView({ id }: { id: number }): JSX.Element {
  const [answer] = useAnswer('preview', { request: id, result: true, rich: true });
  if (!answer) return <p className="ec-muted">Asking…</p>;
  if (!answer.ok) return <p className="ec-warn">{answer.error}</p>;
  const shown = answer as unknown as Shown;
  return (
    <div className="ec-large">
      <p className="ec-muted">{[shown.type, shown.size > 0 && bytes(shown.size)].filter(Boolean).join(', ')}</p>
      <ValueView shown={shown} />
      {shown.look?.note && <p className="ec-muted">{shown.look.note}</p>}
    </div>
  );
}
