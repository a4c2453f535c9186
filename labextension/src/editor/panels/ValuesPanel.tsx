/** Results of a socket, one at a time and large: the newest first, of one run or of all; any of them is found. */

import { useEffect, useRef, useState, type JSX } from 'react';
import { useStore } from '../context';
import { Icon } from '../icons';
import type { Shown } from '../types';
import { ValueView } from '../Value';
import { bytes, clock, duration } from '../words';
import { useAnswer } from './ask';
import { WayButtons } from './WayButtons';

interface Row {
  id: number;
  run: number;
  started?: number | null;
  finished?: number | null;
}

/** A result, the ids of those beside it, how many newer ones there are (null: many), and how many in all. */
interface Beside {
  asked: number | null;
  row: Row | null;
  older: number | null;
  newer: number | null;
  behind: number | null;
  of: number;
}

interface ValuesProps {
  socket: string;
  id: number | null;
  run: number | null;
}

export function ValuesPanel({ socket, id, run }: ValuesProps): JSX.Element {
  const store = useStore();
  const [answer, again] = useAnswer('beside', { socket, ...(id !== null && { id }), ...(run !== null && { run }) });
  const { asked, row, older, newer, behind, of } = (answer?.ok ? answer : {}) as Partial<Beside>;
  const show = (to: number | null, of: number | null = run) => store.set({ panel: { kind: 'values', socket, id: to, run: of } });
  const fresh = answer?.ok && asked === id;
  // steps that were asked for before it was known what stands beside
  const steps = useRef(0);
  const step = (way: number) => {
    const to = way < 0 ? older : newer;
    if (!fresh) steps.current += way;
    else if (typeof to === 'number') show(to);
  };
  useEffect(() => {
    const way = Math.sign(steps.current);
    if (!fresh || !way) return;
    steps.current = (way < 0 ? older : newer) === null ? 0 : steps.current - way;
    step(way);
  });
  const now = id ?? row?.id;
  return (
    <>
      <div className="ec-acts" role="group" aria-label="Values">
        <button
          aria-label="Older value"
          title="The one before"
          disabled={!row || (fresh && older === null)}
          onClick={() => step(-1)}
        >
          <Icon name="back" />
        </button>
        <span className="ec-number" role="status">
          {row && of ? place(of, behind ?? null) : ''}
        </span>
        <button
          aria-label="Newer value"
          title="The one after"
          disabled={!row || (fresh && newer === null)}
          onClick={() => step(1)}
        >
          <Icon name="open" />
        </button>
        <button data-first onClick={() => (again(), show(null))}>
          Newest
        </button>
        {row && (
          <label className="ec-check ec-of-run">
            <input type="checkbox" checked={run !== null} onChange={e => show(row.id, e.target.checked ? row.run : null)} />
            of its run alone
          </label>
        )}
      </div>
      {row && <Find key={`${socket} ${run}`} at={row.id} socket={socket} run={run} show={show} />}
      {answer && !answer.ok && <p className="ec-warn">{answer.error}</p>}
      {answer?.ok && !row && <p className="ec-muted">No result yet.</p>}
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

const place = (of: number, behind: number | null): string =>
  `${behind === null ? 'one' : Math.max(1, of - behind).toLocaleString('en')} of ${of.toLocaleString('en')}`;

interface FindProps {
  at: number;
  socket: string;
  run: number | null;
  show: (id: number) => void;
}

/** Looks for a text in the values before this one, or after it; `#12` is the value of request 12. */
function Find({ at, socket, run, show }: FindProps): JSX.Element {
  const store = useStore();
  const [text, setText] = useState('');
  const [says, setSays] = useState('');
  // only what was asked last is shown
  const turn = useRef(0);
  useEffect(() => () => void (turn.current = -1), []);
  const told = useRef('');
  const find = async (after: boolean) => {
    const mine = ++turn.current;
    const ask = (op: string, more: object) => store.host.command(op, { socket, ...(run !== null && { run }), ...more });
    const number = /^#(\d+)$/.exec(text.trim());
    if (number) {
      const { row } = (await ask('beside', { id: Number(number[1]) })) as Partial<Beside>;
      if (mine !== turn.current) return;
      setSays(row ? '' : 'Not found');
      if (row) show(row.id);
      return;
    }
    // a new text is looked for in the value that is shown, too
    let edge = told.current === text ? at : after ? at - 1 : at + 1;
    told.current = text;
    for (let large = 0; ;) {
      const answer = await ask('find_value', { find: text, [after ? 'after' : 'before']: Math.max(0, edge) });
      if (mine !== turn.current) return;
      if (!answer.ok) return setSays(answer.error ?? 'Not found');
      const found = answer as unknown as { request: number | null; until: number | null; large: number };
      large += found.large;
      if (found.request !== null) return (setSays(''), show(found.request));
      if (found.until === null) return setSays(large ? `Not found; ${large} large ones were left out` : 'Not found');
      edge = found.until;
      setSays(`Looking: request ${edge.toLocaleString('en')}…`);
    }
  };
  return (
    <div className="ec-filters">
      <input
        type="search"
        aria-label="Find in the values"
        placeholder="Find in older values, or #request"
        title="Enter finds the next older one, Shift+Enter the next newer one; #12 is the value of request 12"
        value={text}
        onChange={event => (setText(event.target.value), setSays(''), void turn.current++)}
        onKeyDown={event => event.key === 'Enter' && text.trim() && void find(event.shiftKey)}
      />
      <button disabled={!text.trim()} onClick={() => void find(false)}>
        Find
      </button>
      <span className="ec-muted" aria-live="polite">
        {says}
      </span>
    </div>
  );
}

/** The result of a request; until the answer for the next one is there, the one before stays. */
export function ResultView({ id }: { id: number }): JSX.Element {
  const [chosen, choose] = useState<{ of: number; element: number } | null>(null);
  const element = chosen?.of === id ? { element: chosen.element } : {};
  const [answer] = useAnswer('preview', { request: id, result: true, rich: true, ...element });
  if (!answer) return <p className="ec-muted">Asking…</p>;
  if (!answer.ok) return <p className="ec-warn">{answer.error}</p>;
  const shown = answer as unknown as Shown;
  const { element: at, elements = 0 } = shown;
  const go = (to: number) => choose({ of: id, element: to });
  return (
    <div className="ec-large">
      {at !== undefined && (
        <div className="ec-acts" role="group" aria-label="Elements">
          <button aria-label="Element before" disabled={at === 0} onClick={() => go(at - 1)}>
            <Icon name="back" />
          </button>
          <span className="ec-number">{`element ${(at + 1).toLocaleString('en')} of ${elements.toLocaleString('en')}`}</span>
          <button aria-label="Element after" disabled={at >= elements - 1} onClick={() => go(at + 1)}>
            <Icon name="open" />
          </button>
        </div>
      )}
      <p className="ec-muted">{[shown.type, shown.size > 0 && bytes(shown.size)].filter(Boolean).join(', ')}</p>
      <ValueView shown={shown} />
      {shown.look?.note && <p className="ec-muted">{shown.look.note}</p>}
    </div>
  );
}
