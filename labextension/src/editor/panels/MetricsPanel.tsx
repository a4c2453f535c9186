/** The last hour of sockets, processors and nodes: a table of all of them, and charts of one. */

import { useEffect, useState, type JSX, type PointerEvent } from 'react';
import { useStore } from '../context';
import { Icon } from '../icons';
import { Pulse } from '../Pulse';
import { useLife, type Panel } from '../store';
import { amount, bytes, clock, duration, rate } from '../words';
import { ceiling, path, times, values, type Kind, type Point, type Row, type Statistics, type Word } from './course';

type MetricsOf = Extract<Panel, { kind: 'metrics' }>;

const EVERY = 5000;
const KINDS: [Kind, string][] = [
  ['socket', 'Sockets'],
  ['processor', 'Processors'],
  ['node', 'Nodes']
];

/** The newest answer; asked for anew while somebody looks. */
function useStatistics(args: Record<string, unknown>): { told: Statistics | null; error: string | null } {
  const store = useStore();
  const live = useLife(store) === 'live';
  const [found, setFound] = useState<{ told: Statistics | null; error: string | null }>({ told: null, error: null });
  const key = JSON.stringify(args);
  useEffect(() => {
    if (!live) return;
    let here = true;
    const look = async () => {
      if (document.hidden) return;
      const answer = await store.host.command('statistics', JSON.parse(key) as Record<string, unknown>);
      if (!here) return;
      setFound(
        answer.ok
          ? { told: answer as unknown as Statistics, error: null }
          : { told: null, error: answer.error ?? 'no statistics' }
      );
    };
    void look();
    const timer = setInterval(() => void look(), EVERY);
    return () => {
      here = false;
      clearInterval(timer);
    };
  }, [store, key, live]);
  return found;
}

export function MetricsPanel({ panel }: { panel: MetricsOf }): JSX.Element {
  return panel.of && panel.name ? <OfOne of={panel.of} name={panel.name} /> : <OfAll />;
}

function Missing({ error }: { error: string | null }): JSX.Element {
  return error ? <p className="ec-warn">{error}</p> : <p className="ec-muted">Asking…</p>;
}

function OfAll(): JSX.Element {
  const { told, error } = useStatistics({ pulse: true });
  if (!told) return <Missing error={error} />;
  const shown = KINDS.map(([of, title]) => ({ of, title, rows: told.rows.filter(row => row.of === of) }));
  return (
    <>
      <p className="ec-muted">{spoken(told)}</p>
      {shown.map(({ of, title, rows }) => rows.length > 0 && <Table key={of} title={title} rows={rows} />)}
    </>
  );
}

function spoken({ time, began }: Statistics): string {
  const minutes = Math.max(1, Math.round((time - began) / 60));
  return minutes >= 60 ? 'The last hour.' : minutes === 1 ? 'The last minute.' : `The last ${minutes} minutes.`;
}

function Table({ title, rows }: { title: string; rows: Row[] }): JSX.Element {
  const store = useStore();
  return (
    <div className="ec-figures-box" tabIndex={0} role="group" aria-label={title}>
      <table className="ec-figures">
        <caption>{title}</caption>
        <thead>
          <tr>
            <th scope="col">name</th>
            <th scope="col" title="Calls that ended, half minute by half minute">
              calls
            </th>
            <th scope="col" title="Calls a second on average">
              rate
            </th>
            <th scope="col" title="Time of calls: median and 95th percentile">
              p50 · p95
            </th>
            <th scope="col" title="Queued on average, and at most">
              queue
            </th>
            <th scope="col" title="CPUs that were in use on average">
              CPUs
            </th>
            <th scope="col">memory</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(row => (
            <tr key={row.name}>
              <th scope="row">
                <button
                  className="ec-link"
                  aria-label={`Charts of ${row.of} ${row.name}`}
                  onClick={() => store.set({ panel: { kind: 'metrics', of: row.of, name: row.name } })}
                >
                  {row.name}
                </button>
              </th>
              <td className="ec-several">
                <Pulse points={row.pulse ?? []} />{' '}
                <span>
                  {row.ended.toLocaleString('en')}
                  {row.failed > 0 && ' ·'}
                </span>{' '}
                {row.failed > 0 && <span className="ec-is-failed">{row.failed.toLocaleString('en')} failed</span>}
              </td>
              <td>{rate(row.per_second)}</td>
              <td className="ec-several">{row.p50 === null ? '–' : <Two of={[duration(row.p50), duration(row.p95)]} />}</td>
              <td className="ec-several">
                {row.of === 'node' ? '–' : <Two of={[amount(row.queued), amount(row.most_queued)]} />}
              </td>
              <td>{amount(row.cpu)}</td>
              <td>{row.memory ? bytes(row.memory) : '–'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Two({ of: [one, two] }: { of: [string, string] }): JSX.Element {
  return (
    <>
      <span>{one} ·</span> <span>{two}</span>
    </>
  );
}

interface Drawn {
  title: string;
  lines: { word: Word; name: string }[];
  text: (value: number | null) => string;
}

const CHARTS: Drawn[] = [
  { title: 'Calls a second', lines: [{ word: 'per_second', name: 'ended' }], text: value => rate(value) },
  {
    title: 'Queue',
    lines: [
      { word: 'queued', name: 'queued' },
      { word: 'running', name: 'running' }
    ],
    text: amount
  },
  {
    title: 'Time a call',
    lines: [
      { word: 'p50', name: 'p50' },
      { word: 'p95', name: 'p95' }
    ],
    text: duration
  },
  {
    title: 'Waiting',
    lines: [
      { word: 'waited_p50', name: 'p50' },
      { word: 'waited_p95', name: 'p95' }
    ],
    text: duration
  },
  { title: 'CPUs in use', lines: [{ word: 'cpu', name: 'CPUs' }], text: amount },
  { title: 'Memory', lines: [{ word: 'memory', name: 'bytes' }], text: value => (value === null ? '–' : bytes(value)) }
];

function OfOne({ of, name }: { of: Kind; name: string }): JSX.Element {
  const store = useStore();
  const { told, error } = useStatistics({ by: of, name, course: true });
  const [pointed, setPointed] = useState<number | null>(null);
  const [table, setTable] = useState(false);
  const row = told?.rows[0];
  const at = told ? times(told) : [];
  return (
    <>
      <div className="ec-acts">
        <button data-first onClick={() => store.set({ panel: { kind: 'metrics', of: null, name: null } })}>
          <Icon name="back" />
          All
        </button>
        <button aria-pressed={table} onClick={() => setTable(!table)}>
          As a table
        </button>
      </div>
      {!told && <Missing error={error} />}
      {told && row && (
        <>
          <p className="ec-muted">
            {spoken(told)} {row.ended.toLocaleString('en')} calls, {row.failed.toLocaleString('en')} failed.
          </p>
          {table ? (
            <Points course={told.course ?? []} />
          ) : (
            <div className="ec-charts" onPointerLeave={() => setPointed(null)}>
              {CHARTS.map(drawn => (
                <Chart key={drawn.title} drawn={drawn} at={at} course={told.course ?? []} pointed={pointed} point={setPointed} />
              ))}
            </div>
          )}
        </>
      )}
      {told && !row && <p className="ec-muted">There is no such {of} any more.</p>}
    </>
  );
}

const WIDTH = 240;
const HEIGHT = 64;

interface ChartProps {
  drawn: Drawn;
  at: number[];
  course: Point[];
  pointed: number | null;
  point: (at: number) => void;
}

function Chart({ drawn, at, course, pointed, point }: ChartProps): JSX.Element {
  const lines = drawn.lines.map(({ word, name }) => ({ name, points: values(at, course, word) }));
  const top = ceiling(Math.max(0, ...lines.flatMap(({ points }) => points.map(one => one ?? 0))));
  const shown = pointed ?? at.length - 1;
  const told = lines.map(({ name, points }) => [name, drawn.text(points[shown] ?? null)] as const);
  const move = (event: PointerEvent<SVGSVGElement>) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    const part = Math.min(1, Math.max(0, (event.clientX - left) / width));
    point(Math.round(part * (at.length - 1)));
  };
  const peak = lines.map(({ name, points }) => `${name} at most ${drawn.text(Math.max(0, ...points.map(one => one ?? 0)))}`);
  return (
    <figure className="ec-chart">
      <figcaption>
        <b>{drawn.title}</b>
        <span className="ec-keys">
          {told.map(([name, text], n) => (
            <span key={name} className={`ec-key-${n}`}>
              {lines.length > 1 ? `${name} ` : ''}
              {text}
            </span>
          ))}
        </span>
      </figcaption>
      <div className="ec-plot">
        <span className="ec-top">{drawn.text(top)}</span>
        <svg
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          preserveAspectRatio="none"
          role="img"
          aria-label={`${drawn.title} in the last hour: ${peak.join(', ')}`}
          onPointerMove={move}
        >
          <path className="ec-grid" d={`M0 .5H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 0.5}H${WIDTH}`} />
          {lines.map(({ name, points }, n) => (
            <path key={name} className={`ec-series ec-series-${n}`} d={path(points, top, WIDTH, HEIGHT)} />
          ))}
          {pointed !== null && <path className="ec-pointed" d={`M${(pointed * WIDTH) / (at.length - 1)} 0V${HEIGHT}`} />}
        </svg>
      </div>
      <div className="ec-axis" aria-hidden="true">
        <span>{at.length > 0 && clock(at[0]!)}</span>
        <span>{pointed !== null && clock(at[pointed]!)}</span>
        <span>now</span>
      </div>
    </figure>
  );
}

/** The charts' points for who does not see them. */
function Points({ course }: { course: Point[] }): JSX.Element {
  return (
    <div className="ec-figures-box" tabIndex={0} role="group" aria-label="Half minutes">
      <table className="ec-figures">
        <caption>Half minutes in which something was, newest first</caption>
        <thead>
          <tr>
            <th scope="col">time</th>
            {CHARTS.flatMap(({ title, lines }) =>
              lines.map(({ word, name }) => (
                <th key={word} scope="col">
                  {lines.length > 1 && title !== 'Queue' ? `${title}, ${name}` : lines.length > 1 ? name : title}
                </th>
              ))
            )}
          </tr>
        </thead>
        <tbody>
          {[...course].reverse().map(point => (
            <tr key={point.at}>
              <th scope="row">{clock(point.at)}</th>
              {CHARTS.flatMap(({ lines, text }) => lines.map(({ word }) => <td key={word}>{text(point[word])}</td>))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
