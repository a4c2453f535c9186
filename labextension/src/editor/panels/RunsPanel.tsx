/** Runs, newest first, found by the engine: by number, by where they began, by state. */

import { useEffect, useRef, useState, type JSX } from 'react';
import { useStore } from '../context';
import { Icon, type IconName } from '../icons';
import { counted, stateWord } from '../StoryBar';
import type { Answer } from '../types';
import { moment } from '../words';

interface Row {
  run: number;
  socket: string;
  state: string;
  created: number;
  counts: Record<string, number>;
  arrived: number;
}

const STATES = ['running', 'failed', 'waiting', 'cancelled', 'done'];
const PAGE = 50;
/** Milliseconds without a key before the engine is asked. */
const TYPED = 200;

export function RunsPanel(): JSX.Element {
  const store = useStore();
  const [find, setFind] = useState('');
  const [state, setState] = useState('');
  const [rows, setRows] = useState<Row[]>([]);
  const [more, setMore] = useState<number | null>(null);
  const [said, setSaid] = useState<string | null>('Asking…');
  const turn = useRef(0);
  const ask = async (before: number | null) => {
    const mine = ++turn.current;
    const asked = {
      limit: PAGE,
      ...(find && { find: find.trim() }),
      ...(state && { state }),
      ...(before !== null && { before })
    };
    const answer: Answer = await store.host.command('runs', asked);
    if (mine !== turn.current) return;
    const found = answer.ok ? (answer['rows'] as Row[]) : [];
    setRows(old => (before === null ? found : [...old, ...found]));
    setMore(answer.ok ? (answer['next'] as number | null) : null);
    setSaid(answer.ok ? null : (answer.error ?? 'it is not known'));
  };
  useEffect(() => {
    const timer = setTimeout(() => void ask(null), find ? TYPED : 0);
    return () => clearTimeout(timer);
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [find, state]);
  const show = async (run: number) => {
    if (await store.story.choose(run)) store.set({ panel: { kind: 'way', run } });
  };
  return (
    <>
      <div className="ec-find">
        <label>
          <b>find</b>
          <input
            data-first
            type="search"
            value={find}
            placeholder="run, request or socket"
            onChange={event => setFind(event.target.value)}
          />
        </label>
        <label>
          <b>state</b>
          <select value={state} onChange={event => setState(event.target.value)}>
            <option value="">all</option>
            {STATES.map(one => (
              <option key={one} value={one}>
                {stateWord(one)}
              </option>
            ))}
          </select>
        </label>
      </div>
      <ul className="ec-rows" aria-label="Runs">
        {rows.map(row => (
          <li key={row.run}>
            <button title={counted(row.counts)} onClick={() => void show(row.run)}>
              <span className={`ec-state ec-is-${row.state}`}>
                <Icon name={(row.state === 'cancelled' ? 'idle' : row.state) as IconName} />
                {stateWord(row.state)}
              </span>
              <span>
                run {row.run} · {row.socket}
              </span>
              <span className="ec-muted">{moment(row.created)}</span>
            </button>
          </li>
        ))}
      </ul>
      <p className="ec-muted" role="status">
        {said ?? (rows.length ? '' : more === null ? 'None.' : 'None among those that were looked at.')}
      </p>
      {more !== null && <button onClick={() => void ask(more)}>{rows.length ? 'Older' : 'Look further back'}</button>}
    </>
  );
}
