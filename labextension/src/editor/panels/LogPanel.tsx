/** What happened in the flow, line by line: it follows while one is at its end, and stands still while one reads. */

import { useCallback, useEffect, useLayoutEffect, useRef, useState, type JSX } from 'react';
import { useStore } from '../context';
import { Icon, type IconName } from '../icons';
import { useGraph, useLife, type Panel } from '../store';
import { showPlace } from '../views';
import { capital, seconds } from '../words';
import { before, earlier, first, linesOf, since, type Level, type Line, type Pages, type Place, type Told } from './pages';

type LogOf = Extract<Panel, { kind: 'log' }>;

const LIMIT = 200;
const EVERY = 1000;
/** Pixels from the end within which one is at it. */
const NEAR = 24;
/** A question looks through so many rows at most; what is sought may be further back. */
const TRIES = 25;

const LEVELS: Record<Level, IconName | null> = { info: null, warning: 'aside', error: 'failed' };

export function LogPanel({ panel }: { panel: LogOf }): JSX.Element {
  const store = useStore();
  const [typed, setTyped] = useState(panel.text);
  const change = (more: Partial<LogOf>) => store.set({ panel: { ...panel, ...more } });
  useEffect(() => {
    if (typed === panel.text) return;
    const timer = setTimeout(() => store.set({ panel: { ...panel, text: typed } }), 250);
    return () => clearTimeout(timer);
  }, [store, panel, typed]);
  const sockets = useGraph(store, graph => Object.keys(graph?.sockets ?? {}).join('\n'))
    .split('\n')
    .filter(Boolean);
  return (
    <>
      <div className="ec-filters">
        <input
          data-first
          type="search"
          aria-label="Text"
          placeholder="Text"
          value={typed}
          onChange={e => setTyped(e.target.value)}
        />
        <select aria-label="Level" value={panel.level} onChange={e => change({ level: e.target.value as Level })}>
          <option value="info">every level</option>
          <option value="warning">warnings, errors</option>
          <option value="error">errors</option>
        </select>
        <select aria-label="Socket" value={panel.socket ?? ''} onChange={e => change({ socket: e.target.value || null })}>
          <option value="">every socket</option>
          {sockets.map(name => (
            <option key={name}>{name}</option>
          ))}
        </select>
        {(['run', 'request'] as const).map(of => (
          <input
            key={of}
            type="number"
            min={1}
            aria-label={capital(of)}
            placeholder={capital(of)}
            value={panel[of] ?? ''}
            onChange={e => change({ [of]: Number(e.target.value) || null })}
          />
        ))}
      </div>
      <Lines panel={panel} key={JSON.stringify([panel.socket, panel.run, panel.request, panel.level, panel.text])} />
    </>
  );
}

/** The lines of one filter. */
function Lines({ panel }: { panel: LogOf }): JSX.Element {
  const store = useStore();
  const live = useLife(store) === 'live';
  const [known, setKnown] = useState<Pages | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [following, setFollowing] = useState(true);
  const [looking, setLooking] = useState(false);
  const here = useRef(true);
  const { socket, run, request, level, text } = panel;
  const ask = useCallback(
    async (more: object): Promise<Told | null> => {
      const args = { socket, run, request, level, text, limit: LIMIT, ...more };
      const answer = await store.host.command('log', args);
      if (!here.current) return null;
      setError(answer.ok ? null : (answer.error ?? 'the log cannot be read'));
      return answer.ok ? (answer as unknown as Told) : null;
    },
    [store, socket, run, request, level, text]
  );
  /** The newest page before a place that has lines, or the last one. */
  const back = useCallback(
    async (older: Place | null): Promise<Told | null> => {
      let found = await ask(older ? { older } : {});
      const newer = found?.newer;
      for (let n = 1; n < TRIES && found && !found.lines.length && found.older; n++) found = await ask({ older: found.older });
      return found && { ...found, newer };
    },
    [ask]
  );
  useEffect(() => {
    here.current = true;
    return () => void (here.current = false);
  }, []);
  useEffect(() => {
    if (known || !live) return;
    void back(null).then(told => told && setKnown(first(told)));
  }, [back, known, live]);
  const begun = known !== null;
  const newer = useRef<Place>({});
  useEffect(() => void (newer.current = known?.newer ?? {}), [known]);
  useEffect(() => {
    if (!begun || !following || !live) return;
    let busy = false;
    let on = true;
    const look = async () => {
      if (busy || document.hidden) return;
      busy = true;
      const told = await ask({ newer: newer.current });
      busy = false;
      // who has begun to read meanwhile sees it later
      if (told && on) setKnown(now => now && since(now, told));
    };
    const timer = setInterval(() => void look(), EVERY);
    return () => {
      on = false;
      clearInterval(timer);
    };
  }, [ask, begun, following, live]);
  const go = async () => {
    const place = known && before(known);
    if (!place || looking) return;
    setLooking(true);
    setFollowing(false);
    const told = await back(place);
    if (!here.current) return;
    setLooking(false);
    if (told) setKnown(now => now && earlier(now, told));
  };
  if (error && !known) return <p className="ec-warn">{error}</p>;
  if (!known) return <p className="ec-muted">{live ? 'Asking…' : 'Nobody answers at present.'}</p>;
  return <Scroll known={known} following={following} follow={setFollowing} looking={looking} go={go} level={level} />;
}

interface ScrollProps {
  known: Pages;
  following: boolean;
  follow: (value: boolean) => void;
  looking: boolean;
  go: () => Promise<void>;
  level: Level;
}

function Scroll({ known, following, follow, looking, go, level }: ScrollProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const lines = linesOf(known);
  // what is read stays where it is when earlier lines come above it
  const top = lines[0];
  const was = useRef({ top, height: 0 });
  useLayoutEffect(() => {
    const element = box.current!;
    if (following) element.scrollTop = element.scrollHeight;
    else if (top !== was.current.top) element.scrollTop += element.scrollHeight - was.current.height;
    was.current = { top, height: element.scrollHeight };
  }, [known, following, top]);
  const scrolled = () => {
    const { scrollHeight, scrollTop, clientHeight } = box.current!;
    const end = scrollHeight - scrollTop - clientHeight < NEAR;
    if (end !== following && !(looking && end)) follow(end);
  };
  return (
    <>
      <div ref={box} className="ec-log" role="log" aria-live="off" aria-label="Lines" tabIndex={0} onScroll={scrolled}>
        {before(known) && (
          <button className="ec-earlier" disabled={looking} onClick={() => void go()}>
            {looking ? 'Looking further back…' : 'Earlier lines'}
          </button>
        )}
        {lines.length ? (
          <ul>
            {lines.map((line, at) => (
              <LogLine key={`${line.time}:${lines.length - at}`} line={line} />
            ))}
          </ul>
        ) : (
          <p className="ec-muted">{level === 'info' ? 'No line of it yet.' : 'Nothing of this level.'}</p>
        )}
      </div>
      <div className="ec-follow">
        <button aria-pressed={following} onClick={() => follow(!following)}>
          <Icon name={following ? 'paused' : 'running'} />
          {following ? 'Pause' : 'Follow'}
        </button>
        <span className="ec-muted" role="status">
          {following ? `${lines.length} ${lines.length === 1 ? 'line' : 'lines'}, newest below` : 'Paused while you read'}
        </span>
      </div>
    </>
  );
}

function LogLine({ line }: { line: Line }): JSX.Element {
  const store = useStore();
  const { time, level, kind, socket, request, text } = line;
  const sign = LEVELS[level];
  return (
    <li className={`ec-line-${level}`}>
      <time dateTime={new Date(time * 1000).toISOString()} title={new Date(time * 1000).toLocaleString()}>
        {seconds(time)}
      </time>
      <span className="ec-kind" title={level}>
        {sign && <Icon name={sign} />}
        {kind}
      </span>
      <span className="ec-whose">
        {socket && (
          <button className="ec-link" title={`Socket ${socket}`} onClick={() => showPlace(store, { kind: 'socket', socket })}>
            {socket}
          </button>
        )}
        {request && (
          <button
            className="ec-link"
            aria-label={`Request ${request}`}
            disabled={!socket}
            onClick={() => store.set({ panel: { kind: 'request', id: request, socket: socket!, state: null } })}
          >
            {request}
          </button>
        )}
      </span>
      <pre>{text.replace(/\n$/, '')}</pre>
    </li>
  );
}
