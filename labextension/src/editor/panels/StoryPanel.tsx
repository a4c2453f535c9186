/** The story of a run: its calls in order, what each got of which, and what waits. */

import { useEffect, useState, type JSX } from 'react';
import { useStore } from '../context';
import { Icon, type IconName } from '../icons';
import { useCounts } from '../store';
import { counted, stateWord, sums } from '../StoryBar';
import { useStory } from '../story';
import { clock, duration } from '../words';
import { useAnswer } from './ask';

interface Row {
  id: number;
  socket: string;
  state: string;
  started?: number | null;
  finished?: number | null;
  /** By argument, the requests whose values it got. */
  met?: Record<string, number[]>;
}

const PAGE = 100;

export function StoryPanel({ run }: { run: number }): JSX.Element {
  const store = useStore();
  const way = useStory(store, story => (story.way?.run === run ? story.way : null));
  const root = Object.keys(way?.sockets ?? {})[0] ?? '';
  const [after, setAfter] = useState<number[]>([]);
  const last = after[after.length - 1];
  const anew = JSON.stringify([way && sums(way), useCounts(store, root).done]);
  const [answer] = useAnswer('requests', { run, limit: PAGE, met: true, ...(last !== undefined && { after: last }) }, anew);
  const rows = (answer?.['rows'] ?? []) as Row[];
  useEffect(() => {
    if (store.story.way?.run !== run) void store.story.choose(run);
  }, [store, run]);
  return (
    <>
      {way && (
        <p>
          <span className={`ec-state ec-is-${way.state}`}>{stateWord(way.state)}</span>{' '}
          <span className="ec-muted">{counted(sums(way))}</span>
        </p>
      )}
      {way?.waits.map(([socket, argument, count]) => (
        <div className="ec-acts" key={`${socket} ${argument}`}>
          <button onClick={() => store.set({ panel: { kind: 'waiting', socket, argument } })}>
            <Icon name="waiting" />
            {count} {count === 1 ? 'waits' : 'wait'} at {argument} of {socket}
          </button>
        </div>
      ))}
      {answer && !answer.ok && <p className="ec-warn">{answer.error}</p>}
      <ol className="ec-rows ec-story-rows" aria-label={`Calls of run ${run}`}>
        {rows.map(row => (
          <li key={row.id}>
            <button onClick={() => store.set({ panel: { kind: 'request', id: row.id, socket: row.socket, state: null } })}>
              <span className={`ec-state ec-is-${row.state}`}>
                <Icon name={(ICONS.has(row.state) ? row.state : 'idle') as IconName} />
                {row.state}
              </span>
              <span>
                {row.socket} <span className="ec-muted">#{row.id}</span>
                <Met row={row} />
              </span>
              <span className="ec-muted">
                {row.started && row.finished ? duration(row.finished - row.started) : row.started ? clock(row.started) : ''}
              </span>
            </button>
          </li>
        ))}
      </ol>
      <div className="ec-acts">
        {after.length > 0 && <button onClick={() => setAfter(after.slice(0, -1))}>Earlier calls</button>}
        {rows.length === PAGE && <button onClick={() => setAfter([...after, rows[PAGE - 1]!.id])}>Later calls</button>}
      </div>
    </>
  );
}

const ICONS = new Set(['queued', 'running', 'done', 'failed', 'waiting']);

/** What met in a call: of each argument, the request that it came from. */
function Met({ row }: { row: Row }): JSX.Element | null {
  const store = useStore();
  const met = Object.entries(row.met ?? {}).filter(([, from]) => from.length);
  if (!met.length) return null;
  const source = (argument: string) => {
    const plugs = store.graph?.plugs.filter(plug => plug.target === row.socket && plug.argument === argument) ?? [];
    return plugs.length === 1 ? `${plugs[0]!.source} ` : '';
  };
  return (
    <span className="ec-met">
      {met.map(([argument, from]) => (
        <span key={argument}>
          {argument} ← {from.length === 1 ? `${source(argument)}#${from[0]}` : `${from.length} values`}
        </span>
      ))}
    </span>
  );
}
