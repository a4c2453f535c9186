/** Panels to read: the flow as code, its history, the keys. */

import { useState, type JSX } from 'react';
import { missing } from '../around';
import { useStore } from '../context';
import { useGraph } from '../store';
import { clock } from '../words';
import { useAnswer } from './ask';

export function CodePanel(): JSX.Element {
  const store = useStore();
  const revision = useGraph(store, graph => graph?.revision);
  const [answer] = useAnswer('code', {}, revision);
  const [copied, setCopied] = useState('');
  if (!answer) return <p className="ec-muted">Asking…</p>;
  if (!answer.ok) return <p className="ec-warn">{answer.error}</p>;
  const text = String(answer['text']);
  const copy = async () => {
    // a page without https has no clipboard to write to
    const done = await navigator.clipboard?.writeText(text).then(
      () => true,
      () => false
    );
    setCopied(done ? 'Copied.' : 'This page may not copy: mark the text and press Ctrl+C.');
    store.say(done ? 'code copied' : 'not copied');
  };
  return (
    <>
      <div className="ec-acts">
        <button data-first onClick={() => void copy()}>
          Copy
        </button>
        <span role="status">{copied}</span>
      </div>
      <pre tabIndex={0} aria-label="Code">
        {text}
      </pre>
    </>
  );
}

interface Edit {
  n: number;
  text: string;
  time: number;
  undone: boolean;
}

export function HistoryPanel(): JSX.Element {
  const store = useStore();
  const revision = useGraph(store, graph => graph?.revision);
  const [answer] = useAnswer('history', {}, revision);
  if (answer && !answer.ok) return <p className="ec-warn">{answer.error}</p>;
  const rows = [...((answer?.['rows'] ?? []) as Edit[])].sort((a, b) => b.n - a.n);
  return (
    <>
      {answer && !rows.length && <p className="ec-muted">No edit yet.</p>}
      <ol className="ec-history">
        {rows.map(row => (
          <li key={row.n} className={row.undone ? 'ec-undone' : ''}>
            <span className="ec-number">{row.n}</span> {row.text}{' '}
            <span className="ec-muted">
              {clock(row.time)}
              {row.undone && ' · undone'}
            </span>
          </li>
        ))}
      </ol>
    </>
  );
}

const KEYS: [string, string][] = [
  ['Tab', 'into the picture; once more, out of it'],
  ['Arrows', 'walk: up and down through sockets and their ports, left and right along plugs'],
  ['Enter', 'on an output: the arguments it fits; elsewhere: what can be done there'],
  ['Delete', 'unplugs what is selected or feeds the argument; removes sockets'],
  ['Escape', 'closes, or stops plugging'],
  ['Ctrl+Z, Ctrl+Shift+Z', 'undo, redo: of everything, tidy and remove too'],
  ['Ctrl+K', 'search sockets, processors and commands'],
  ['Ctrl+C', 'copies the selected plugs; of a selected socket, all of its plugs'],
  ['Ctrl+V', 'pastes them onto the selected socket: into its argument of the same name, else out of it'],
  ['Shift+drag, Shift+click', 'select several'],
  ['Ctrl+G, Ctrl+Shift+G', 'groups what is selected, takes a group apart; Enter on one folds it'],
  ['Enter, double click', 'on the canvas: a new socket or note, a processor, a node'],
  ['Menu key, Shift+F10', 'what can be done with what has the focus, as a right click'],
  ['F', 'the whole screen, and back'],
  ['?', 'this help']
];

export function HelpPanel(): JSX.Element {
  const lacks = missing();
  return (
    <>
      {lacks && <p className="ec-warn">{lacks}</p>}
      <p>
        <b>To plug</b>, drag from an output to an argument; or click the one, then the other; or press Enter on an output.
        Arguments that fit turn green and get a tick, others red and a cross.
      </p>
      <dl className="ec-keys">
        {KEYS.map(([key, does]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
      <p>
        <b>On a card</b>: its last value, click it for a closer look and for those before; queued, running, done and failed calls,
        click a number for its list. A red corner says that calls have failed. An hourglass on an argument counts values that wait
        for the others of their call. A number on a plug counts values on their way. The wheel zooms after a click into the
        picture; with Ctrl always.
      </p>
    </>
  );
}
