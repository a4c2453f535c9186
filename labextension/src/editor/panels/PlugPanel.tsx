/** Options of one plug. */

import { useEffect, useState, type JSX } from 'react';
import { useStore } from '../context';
import { edit, plugChange, unplug, unplugChange } from '../edits';
import { useDepth, useGraph } from '../store';
import type { Plug } from '../types';
import { findPlug, keyOf, plugName } from '../wiring';
import { PythonLine } from './PythonLine';

export function PlugPanel({ plugKey }: { plugKey: string }): JSX.Element {
  const store = useStore();
  const plug = useGraph(store, graph => graph && findPlug(graph, plugKey));
  if (!plug) return <p>This plug is gone.</p>;
  return <Options plug={plug} />;
}

function Options({ plug: made }: { plug: Plug }): JSX.Element {
  const store = useStore();
  // what was asked for, until the flow has it: a busy kernel may let one wait
  const [asked, setAsked] = useState<Partial<Plug>>({});
  useEffect(() => setAsked({}), [made]);
  const plug = { ...made, ...asked };
  const depth = useDepth(store, [plug.id]);
  const change = async (to: Partial<Plug>) => {
    const next = { ...plug, ...to };
    setAsked(to);
    // on what a plug is, is part of which plug it is
    const other = { ...unplugChange(made), op: 'replug', to_on: next.on };
    const changes = next.on === made.on ? [{ ...plugChange(next), cycle: true }] : [other];
    const answer = await edit(store, changes, `changed ${plugName(next)}`);
    if (!answer) setAsked({});
    if (answer && next.on !== made.on) store.set({ panel: { kind: 'plug', key: keyOf(next) } });
  };
  return (
    <>
      <p>
        {plug.pick && `The part ${plug.pick} of each result; `}
        {depth} on the way{plug.when && `, of results for which ${plug.when}`}
      </p>
      <fieldset>
        <label className="ec-check">
          <input data-first type="checkbox" checked={plug.map} onChange={event => void change({ map: event.target.checked })} />
          <span>
            <b>map</b>: one call for each element
          </span>
        </label>
        <label>
          <b>gather</b>
          <select
            value={plug.gather === 'done' ? 'done' : plug.gather ? 'all' : 'no'}
            onChange={event => void change({ gather: GATHER[event.target.value]! })}
          >
            <option value="no">no: each value by itself</option>
            <option value="all">all elements of a split, as one list</option>
            <option value="done">those that were done; failed ones are left out</option>
          </select>
        </label>
        <label>
          <b>carries</b>
          <select value={plug.on} onChange={event => void change({ on: event.target.value as Plug['on'] })}>
            <option value="result">results</option>
            <option value="error">errors of calls that failed for good</option>
          </select>
        </label>
      </fieldset>
      <PythonLine
        key={plug.when ?? ''}
        label="when"
        first={plug.when ?? ''}
        placeholder="result > 0"
        hint={`Python over result${made.on === 'error' ? ', the failure (such as result.type)' : ''}: only those for which it holds are carried. Empty: all of them.`}
        send={text =>
          store.command('when', { source: made.source, target: made.target, argument: made.argument, on: made.on, text })
        }
        said={text => `${plugName(made)} carries ${text ? `what ${text} holds for` : 'all'}`}
      />
      <div className="ec-acts">
        <button onClick={() => void unplug(store, [made])}>Unplug</button>
        <button onClick={() => store.goTo({ kind: 'argument', socket: plug.target, argument: plug.argument })}>
          Go to its argument
        </button>
      </div>
    </>
  );
}

const GATHER: Record<string, Plug['gather']> = { no: false, all: true, done: 'done' };
