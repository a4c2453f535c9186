/** One processor: how many CPUs, and whether it takes on calls. */

import { Fragment, useState, type JSX } from 'react';
import { useStore } from '../context';
import { edit, pause } from '../edits';
import { processorId } from '../frames';
import { fold } from '../groups';
import { useGraph, useNodes, useProcessor, useView } from '../store';
import type { Processor } from '../types';
import { nodeState } from '../words';
import { Form } from './forms';

/** What stands in the fields: CPUs by node, of those that were chosen. */
function sharesOf(processor: Processor | undefined): Record<string, string> {
  const nodes = processor?.nodes ?? { local: processor?.cpus ?? null };
  return Object.fromEntries(Object.entries(nodes).map(([node, n]) => [node, n?.toString() ?? '']));
}

export function ProcessorPanel({ name }: { name: string }): JSX.Element {
  const store = useStore();
  const processor = useGraph(store, graph => graph?.processors[name]);
  const empty = useGraph(store, graph => !Object.values(graph?.sockets ?? {}).some(socket => socket.processor === name));
  const folded = useView(store, view => view.folded.has(processorId(name)));
  const numbers = useProcessor(store, name);
  const nodes = useNodes(store);
  const [shares, setShares] = useState(() => sharesOf(processor));
  if (!processor) return <p>This processor is gone.</p>;
  const { paused } = processor;
  const chosen = Object.entries(shares).filter(([node]) => nodes.some(one => one.name === node));
  const change = {
    op: 'processor',
    name,
    cpus: null,
    nodes: Object.fromEntries(chosen.map(([node, n]) => [node, n ? Number(n) : null]))
  };
  const choose = (node: string, count: string | null) => {
    const { [node]: _, ...rest } = shares;
    setShares(count === null ? rest : { ...rest, [node]: count });
  };
  return (
    <>
      <p>
        {numbers?.running ?? 0} running, {numbers?.queued ?? 0} queued{paused && ', paused'}
        {Object.entries(numbers?.nodes ?? {}).map(([node, n]) => ` · ${n} on ${node}`)}
      </p>
      <Form
        act="Resize"
        send={async () =>
          chosen.length ? store.host.command('edit', { changes: [change] }) : { ok: false, error: 'choose a node at least' }
        }
        done={() => store.say(`${name} has ${chosen.map(([node, n]) => `${n || 'all'} CPUs on ${node}`).join(', ')}`)}
      >
        {nodes.map((node, index) => (
          <Fragment key={node.name}>
            {nodes.length > 1 && (
              <label className="ec-check">
                <input
                  type="checkbox"
                  checked={node.name in shares}
                  onChange={event => choose(node.name, event.target.checked ? '' : null)}
                />
                Run on {node.name} {node.state !== 'up' && `(${nodeState(node)})`}
              </label>
            )}
            {(nodes.length < 2 || node.name in shares) && (
              <label>
                <b>CPUs{nodes.length > 1 && ` on ${node.name}`}</b>
                <input
                  {...(index === 0 && { 'data-first': true })}
                  type="number"
                  min={0}
                  step={1}
                  value={shares[node.name] ?? ''}
                  placeholder="all of the node"
                  onChange={event => choose(node.name, event.target.value)}
                />
              </label>
            )}
          </Fragment>
        ))}
      </Form>
      <p className="ec-muted">More start at once; fewer count once what runs has ended.</p>
      <div className="ec-acts">
        <button onClick={() => void pause(store, { processor: name }, !paused)}>{paused ? 'Resume' : 'Pause'}</button>
        {!empty && <button onClick={() => fold(store, processorId(name))}>{folded ? 'Unfold' : 'Fold'}</button>}
        {empty && (
          <button onClick={() => void edit(store, [{ op: 'remove_processor', name }], `removed processor ${name}`)}>
            Remove
          </button>
        )}
      </div>
    </>
  );
}
