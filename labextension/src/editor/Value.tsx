/** A value as a person looks at it. What a value says of itself is text, an image, or a frame in which nothing runs. */

import { useEffect, useRef, type CSSProperties, type JSX } from 'react';
import { useStore } from './context';
import { useShown } from './store';
import type { Look, Shown, Socket } from './types';
import { spark } from './spark';

/** Characters that stand large in the middle of a card. */
const SHORT = 14;

/** The last value on a card; before there is one, what the socket does. */
export function LastValue({ name, socket }: { name: string; socket: Socket }): JSX.Element {
  const store = useStore();
  const shown = useShown(store, name);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => store.looks.see(name, box.current!), [store, name]);
  if (!shown) {
    const { parked } = socket.task;
    return (
      <div
        ref={box}
        className="ec-last ec-doc"
        title={parked ? 'Register the task again: the Python of this flow changed' : socket.doc}
      >
        {socket.doc}
      </div>
    );
  }
  return (
    <div ref={box} className="ec-last">
      <div className="ec-last-look" aria-hidden="true">
        <ValueView shown={shown} small />
        {(shown.elements ?? 0) > 1 && <div className="ec-shape">last of {counted(shown.elements!, 'element', 'elements')}</div>}
      </div>
      <button
        className="ec-last-open"
        tabIndex={-1}
        aria-label={`Last value of ${name}: ${shown.text.slice(0, 80)}`}
        title={`${shown.type}: look closer, and at those before`}
        onClick={() => store.set({ panel: { kind: 'values', socket: name, id: shown.request ?? null, run: null } })}
      />
    </div>
  );
}

interface ViewProps {
  shown: Shown;
  /** On a card: the beginning alone. */
  small?: boolean;
}

export function ValueView({ shown, small = false }: ViewProps): JSX.Element {
  const look = shown.look ?? {};
  const [mime, data] = Object.entries(look.data ?? {})[0] ?? [];
  if (look.table) return <Table table={look.table} small={small} />;
  if (look.array) return <Line array={look.array} small={small} />;
  if (mime === 'image/svg+xml')
    return <img className="ec-image" alt={shown.text} src={`data:${mime};charset=utf-8,${encodeURIComponent(data!)}`} />;
  if (mime?.startsWith('image/')) return <img className="ec-image" alt={shown.text} src={`data:${mime};base64,${data}`} />;
  if (mime === 'text/html') return <Page html={data!} small={small} text={shown.text} />;
  return <Words text={data ?? look.plain ?? shown.text} small={small} />;
}

function Words({ text, small }: { text: string; small: boolean }): JSX.Element {
  if (text.length <= SHORT && !text.includes('\n')) {
    const letters = { '--ec-letters': text.length } as CSSProperties;
    return (
      <div className="ec-short" style={letters}>
        {text}
      </div>
    );
  }
  if (small) return <pre className="ec-words">{text.slice(0, 400)}</pre>;
  return (
    <pre className="ec-words" tabIndex={0} aria-label="Value">
      {text}
    </pre>
  );
}

const counted = (count: number, one: string, more: string): string => `${count.toLocaleString('en')} ${count === 1 ? one : more}`;
const product = (shape: number[]): string => shape.map(one => one.toLocaleString('en')).join(' × ');

function Table({ table, small }: { table: NonNullable<Look['table']>; small: boolean }): JSX.Element {
  const columns = small ? table.columns.slice(0, table.index.length ? 3 : 4) : table.columns;
  const rows = small ? table.rows.slice(0, columns.length ? 2 : 3) : table.rows;
  const [high = 0, wide] = table.shape;
  const says =
    wide === undefined
      ? counted(high, 'entry', 'entries')
      : `${counted(high, 'row', 'rows')} × ${counted(wide, 'column', 'columns')}`;
  return (
    <div className="ec-frame-box" {...(!small && { tabIndex: 0, role: 'group', 'aria-label': 'Value' })}>
      <table className="ec-frame">
        {columns.length > 0 && (
          <thead>
            <tr>
              {table.index.length > 0 && <td />}
              {columns.map((name, at) => (
                <th key={at} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
        )}
        <tbody>
          {rows.map((row, at) => (
            <tr key={at}>
              {table.index[at] !== undefined && <th scope="row">{table.index[at]}</th>}
              {(columns.length ? row.slice(0, columns.length) : row).map((cell, place) => (
                <td key={place}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      <div className="ec-shape">{says}</div>
    </div>
  );
}

function Line({ array, small }: { array: NonNullable<Look['array']>; small: boolean }): JSX.Element {
  const [width, height] = [200, small ? 40 : 90];
  const paths = spark(array.points, width, height);
  const range = array.low === null ? '' : ` · ${figure(array.low)} to ${figure(array.high ?? array.low)}`;
  return (
    <div className="ec-array">
      {paths && (
        <svg className="ec-spark" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true">
          <path className="ec-spark-area" d={paths.area} />
          <path className="ec-spark-line" d={paths.line} />
        </svg>
      )}
      <div className="ec-shape">
        {array.dtype} {product(array.shape)}
        {range}
      </div>
    </div>
  );
}

const figure = (value: number): string =>
  Number.isInteger(value) && Math.abs(value) < 1e6 ? String(value) : String(Number(value.toPrecision(4)));

/** No script runs in the frame, it has no origin, and it may fetch nothing. */
const POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:";

function Page({ html, small, text }: { html: string; small: boolean; text: string }): JSX.Element {
  const store = useStore();
  const root = store.box ? getComputedStyle(store.box) : null;
  const colours = root ? `color:${root.color};background:${root.backgroundColor};color-scheme:${root.colorScheme};` : '';
  const style = `html{${colours}}body{margin:${small ? 2 : 6}px;font:${small ? 10 : 12}px system-ui,sans-serif}table{border-collapse:collapse}td,th{padding:1px 6px;text-align:right}`;
  return (
    <iframe
      className="ec-page"
      sandbox=""
      referrerPolicy="no-referrer"
      {...(small && { tabIndex: -1, scrolling: 'no' })}
      title={text.slice(0, 80)}
      srcDoc={`<!doctype html><meta http-equiv="Content-Security-Policy" content="${POLICY}"><style>${style}</style>${html}`}
    />
  );
}
