/** A socket that is to be made: its name, and the cell that makes it. */

import { useState, type FormEvent, type JSX } from 'react';
import { expect, freeName, nameTrouble, skeleton, type Wanted } from '../adding';
import { useStore } from '../context';
import { askLab, inLab } from '../lab';
import { useGraph } from '../store';
import type { Answer } from '../types';

export function NewSocketPanel({ wanted }: { wanted: Wanted }): JSX.Element {
  const store = useStore();
  const graph = useGraph(store, known => known);
  const [name, setName] = useState(() => (graph ? freeName(graph) : 'task'));
  const [said, setSaid] = useState('');
  if (!graph) return <p>No flow yet.</p>;
  const trouble = nameTrouble(graph, name);
  const code = skeleton(graph, trouble ? 'task' : name, wanted);
  const send = async (event: FormEvent) => {
    event.preventDefault();
    if (trouble) return setSaid(trouble);
    const answer = await (askLab(store, 'cell', { code }) ?? copied(code));
    setSaid(answer.ok ? '' : (answer.error ?? ''));
    if (!answer.ok) return;
    expect(store, name, wanted);
    if (answer['text']) return setSaid(String(answer['text']));
    store.set({ panel: null });
    store.say(`a cell for ${name} is in the notebook: ${wanted.source ? 'plugged' : 'made'} once it has run`);
  };
  return (
    <form onSubmit={event => void send(event)}>
      <label>
        <b>Name</b>
        <input
          data-first
          value={name}
          required
          onChange={event => setName(event.target.value)}
          onFocus={event => event.target.select()}
        />
      </label>
      <pre tabIndex={0} aria-label="Its cell">
        {code}
      </pre>
      <p className="ec-muted">
        A function in a cell is the task of a socket. {wanted.source && `Plugged to ${wanted.source} once the cell has run. `}
        {!inLab() && 'This front end takes no cells from a picture: paste it into a cell of the notebook and run it.'}
      </p>
      {(trouble || said) && (
        <p className={said && !trouble ? 'ec-muted' : 'ec-warn'} role="alert">
          {trouble ?? said}
        </p>
      )}
      <button type="submit">{inLab() ? 'Add cell' : 'Copy'}</button>
    </form>
  );
}

async function copied(code: string): Promise<Answer> {
  const done = await navigator.clipboard?.writeText(code).then(
    () => true,
    () => false
  );
  const then = 'into a cell of the notebook, and run it';
  return { ok: true, text: done ? `Copied: paste it ${then}.` : `This page may not copy: mark the text above, put it ${then}.` };
}
