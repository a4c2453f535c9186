/** When and where calls ran: bars on a canvas, and the same as a table beside it. */

import { useEffect, useMemo, useRef, useState, type JSX, type MutableRefObject } from 'react';
import type { Chart, Sight } from '../../timeline/chart';
import { useStore } from '../context';
import { useLife } from '../store';
import { useStory } from '../story';
import type { Answer } from '../types';
import { duration, moment } from '../words';
import { barsOf, merged, type Bars, type Columns } from './bars';

const PAGE = 10_000;
const NEWEST = 500;
/** Milliseconds between two looks at what is new. */
const AGAIN = 2000;
const ROWS = 100;
/** Milliseconds without motion before the table follows. */
const REST = 120;

/** What was in view of a timeline when it was left. */
const left = new Map<string, Sight>();

interface Found {
  bars: Bars;
  next: number | null;
  now: number;
  /** How often older calls were loaded. */
  pages: number;
}

export function TimelinePanel({ run }: { run: number | null }): JSX.Element {
  const store = useStore();
  const { found, error, older } = useBars(run);
  const [by, setBy] = useState<'socket' | 'state'>('socket');
  const [table, setTable] = useState(true);
  const [sight, look] = useAtRest<Sight>();
  const chosen = useStory(store, story => (run === null ? (story.way?.run ?? null) : null));
  const open = (bar: number) => {
    const { id, socket, sockets } = found!.bars;
    store.set({ panel: { kind: 'request', id: id[bar]!, socket: sockets[socket[bar]!]!, state: null } });
  };
  const drawn = useRef<Chart | null>(null);
  return (
    <>
      <div className="ec-acts">
        <label className="ec-check">
          colour by
          <select value={by} onChange={event => setBy(event.target.value as typeof by)}>
            <option>socket</option>
            <option>state</option>
          </select>
        </label>
        <button aria-label="Zoom the timeline in" title="Zoom in (+)" onClick={() => drawn.current?.zoom(1.5)}>
          +
        </button>
        <button aria-label="Zoom the timeline out" title="Zoom out (-)" onClick={() => drawn.current?.zoom(1 / 1.5)}>
          −
        </button>
        <button onClick={() => drawn.current?.look(null)}>All</button>
        <button aria-pressed={table} onClick={() => setTable(!table)}>
          Table
        </button>
        {found?.next != null && <button onClick={older}>Load older calls</button>}
        <span className="ec-muted" role="status">
          {error ?? (found ? `${found.bars.id.length.toLocaleString('en')} calls` : 'Asking…')}
        </span>
        {by === 'socket' && found && <Legend bars={found.bars} />}
      </div>
      <div className="ec-timeline">
        {found && found.bars.id.length > 0 && (
          <Canvas key={String(run)} run={run} found={found} by={by} chosen={chosen} open={open} moved={look} into={drawn} />
        )}
        {found && !found.bars.id.length && <p className="ec-muted">No call has begun yet.</p>}
        {found && table && <BarTable found={found} sight={sight} open={open} />}
      </div>
    </>
  );
}

/** What was said last, once nothing more is said for a moment: a table of thousands is not made in each frame of a zoom. */
function useAtRest<Said>(): [Said | null, (said: Said) => void] {
  const [rested, rest] = useState<Said | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout>>();
  useEffect(() => () => clearTimeout(timer.current), []);
  const say = (said: Said) => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => rest(said), REST);
  };
  return [rested, say];
}

/** The bars, kept up to date while somebody looks. */
function useBars(run: number | null): { found: Found | null; error: string | null; older: () => void } {
  const store = useStore();
  const live = useLife(store) === 'live';
  const [found, setFound] = useState<Found | null>(null);
  const [error, setError] = useState<string | null>(null);
  const take = (answer: Answer, newest: boolean) => {
    if (!answer.ok) return setError(answer.error ?? 'it is not known');
    const { columns, sockets, processors, next, now } = answer as unknown as Columns & { next: number | null; now: number };
    setError(null);
    setFound(old => ({
      bars: merged(old?.bars ?? null, barsOf({ columns, sockets, processors }), newest),
      next: newest && old ? old.next : next,
      now: newest || !old ? now : old.now,
      pages: (old?.pages ?? 0) + (newest ? 0 : 1)
    }));
  };
  const asked = run === null ? {} : { run };
  useEffect(() => {
    let [gone, first] = [false, true];
    const ask = async () => {
      if (document.hidden && !first) return;
      const answer = await store.host.command('timeline', { ...asked, limit: first ? PAGE : NEWEST });
      if (gone) return;
      take(answer, true);
      first &&= !answer.ok;
    };
    void ask();
    const timer = live ? setInterval(() => void ask(), AGAIN) : null;
    return () => {
      gone = true;
      if (timer) clearInterval(timer);
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [store, run, live]);
  const older = () => {
    if (found?.next == null) return;
    void store.host.command('timeline', { ...asked, before: found.next, limit: PAGE }).then(answer => take(answer, false));
  };
  return { found, error, older };
}

interface CanvasProps {
  run: number | null;
  found: Found;
  by: 'socket' | 'state';
  chosen: number | null;
  open: (bar: number) => void;
  moved: (sight: Sight) => void;
  into: MutableRefObject<Chart | null>;
}

function Canvas({ run, found, by, chosen, open, moved, into }: CanvasProps): JSX.Element {
  const store = useStore();
  const box = useRef<HTMLDivElement>(null);
  const [ready, setReady] = useState(false);
  const [error, setError] = useState<string | null>(null);
  // the chart is made once, and asks what is so when it is clicked
  const asked = useRef({ open, moved });
  asked.current = { open, moved };
  const data = useMemo(() => ({ bars: found.bars, now: found.now, by, run: chosen }), [found, by, chosen]);
  const key = String(run);
  useEffect(() => {
    let gone = false;
    const loading = store.part('timeline');
    if (!loading) return setError('Bars need a kernel or a server; the table has them all.');
    loading.then(
      part => {
        if (gone) return;
        into.current = part.chart(box.current!, {
          open: bar => asked.current.open(bar),
          moved: sight => {
            left.set(key, sight);
            asked.current.moved(sight);
          }
        });
        setReady(true);
      },
      (why: unknown) => setError(`The bars cannot be drawn: ${String(why)}`)
    );
    return () => {
      gone = true;
      into.current?.close();
      into.current = null;
    };
  }, [store, key, into]);
  useEffect(() => {
    if (!ready || !into.current) return;
    into.current.show(data);
  }, [ready, data, into]);
  useEffect(() => {
    if (ready) into.current?.look(left.get(key) ?? null);
  }, [ready, key, into]);
  useEffect(() => {
    // whoever asks for older calls wants to see them
    if (found.pages) into.current?.look(null);
  }, [found.pages, into]);
  return (
    <div className="ec-bars" ref={box}>
      {error && <p className="ec-muted">{error}</p>}
    </div>
  );
}

/** Calls that are in view, by start. */
function BarTable({ found, sight, open }: { found: Found; sight: Sight | null; open: (bar: number) => void }): JSX.Element {
  const [page, setPage] = useState(0);
  const { bars, now } = found;
  const inView = useMemo(() => {
    const { from, to } = sight ?? { from: -Infinity, to: Infinity };
    const seen = bars.id.map((_, bar) => bar).filter(bar => bars.started[bar]! <= to && bars.end(bar, now) >= from);
    return seen.sort((a, b) => bars.started[a]! - bars.started[b]!);
  }, [bars, now, sight]);
  const pages = Math.max(1, Math.ceil(inView.length / ROWS));
  const at = Math.min(page, pages - 1);
  return (
    <div className="ec-bar-table" tabIndex={0} role="group" aria-label="Calls in view">
      <table>
        <caption className="ec-muted">
          {inView.length.toLocaleString('en')} in view
          {pages > 1 && (
            <>
              {' '}
              <button disabled={!at} onClick={() => setPage(at - 1)} aria-label="Page before">
                ‹
              </button>{' '}
              {at + 1} of {pages}{' '}
              <button disabled={at >= pages - 1} onClick={() => setPage(at + 1)} aria-label="Next page">
                ›
              </button>
            </>
          )}
        </caption>
        <thead>
          <tr>
            <th scope="col">request</th>
            <th scope="col">socket</th>
            <th scope="col">CPU</th>
            <th scope="col">state</th>
            <th scope="col">start</th>
            <th scope="col">took</th>
          </tr>
        </thead>
        <tbody>
          {inView.slice(at * ROWS, (at + 1) * ROWS).map(bar => (
            <tr key={`${bars.id[bar]} ${bars.started[bar]}`}>
              <td>
                <button onClick={() => open(bar)}>{bars.id[bar]}</button>
              </td>
              <td>{bars.sockets[bars.socket[bar]!]}</td>
              <td>
                {bars.processors[bars.socket[bar]!]} · {bars.node[bar] ?? '?'} {bars.slot[bar] ?? '?'}
              </td>
              <td className={bars.state[bar] === 'failed' ? 'ec-warn' : undefined}>{bars.state[bar]}</td>
              <td className="ec-number">{moment(bars.started[bar]!)}</td>
              <td className="ec-number">{duration(bars.seconds[bar])}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Legend({ bars }: { bars: Bars }): JSX.Element {
  return (
    <ul className="ec-legend" aria-label="Colours">
      {bars.sockets.slice(0, 10).map((name, at) => (
        <li key={name}>
          <i className={`ec-hue-${at % 10}`} />
          {name}
        </li>
      ))}
      {bars.sockets.length > 10 && <li>and {bars.sockets.length - 10} more</li>}
    </ul>
  );
}
