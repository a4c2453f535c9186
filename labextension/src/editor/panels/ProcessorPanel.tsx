/** One processor: how many CPUs, and whether it takes on calls. */

import { useState, type FormEvent, type JSX } from 'react';
import { fold } from '../choices';
import { useStore } from '../context';
import { edit, pause } from '../edits';
import { useGraph, useProcessor, useView } from '../store';

export function ProcessorPanel({ name }: { name: string }): JSX.Element {
  const store = useStore();
  const processor = useGraph(store, graph => graph?.processors[name]);
  const empty = useGraph(store, graph => !Object.values(graph?.sockets ?? {}).some(socket => socket.processor === name));
  const folded = useView(store, view => view.folded.has(name));
  const numbers = useProcessor(store, name);
  const [cpus, setCpus] = useState(processor?.cpus?.toString() ?? '');
  if (!processor) return <p>This processor is gone.</p>;
  const paused = numbers?.paused ?? processor.paused;
  const resize = (event: FormEvent) => {
    event.preventDefault();
    const count = cpus === '' ? null : Number(cpus);
    void edit(store, [{ op: 'processor', name, cpus: count }], `${name} has ${count ?? 'all'} CPUs`);
  };
  return (
    <>
      <p>
        {numbers?.running ?? 0} running, {numbers?.queued ?? 0} queued{paused && ', paused'}
      </p>
      <form onSubmit={resize}>
        <label>
          <b>CPUs</b>
          <input
            data-first
            type="number"
            min={0}
            step={1}
            value={cpus}
            placeholder="all of the node"
            onChange={event => setCpus(event.target.value)}
          />
        </label>
        <button type="submit">Resize</button>
      </form>
      <p className="ec-muted">More start at once; fewer count once what runs has ended.</p>
      <div className="ec-acts">
        <button onClick={() => void pause(store, { processor: name }, !paused)}>{paused ? 'Resume' : 'Pause'}</button>
        {!empty && <button onClick={() => fold(store, name)}>{folded ? 'Unfold' : 'Fold'}</button>}
        {empty && (
          <button onClick={() => void edit(store, [{ op: 'remove_processor', name }], `removed processor ${name}`)}>
            Remove
          </button>
        )}
      </div>
    </>
  );
}
