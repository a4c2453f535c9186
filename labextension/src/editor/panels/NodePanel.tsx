/** One node: how it is, and where. */

import type { JSX } from 'react';
import { useStore } from '../context';
import { useGraph, useNode } from '../store';
import { bytes, clock, duration, nodeState, usage } from '../words';

export function NodePanel({ name }: { name: string }): JSX.Element {
  const store = useStore();
  const node = useNode(store, name);
  const processors = useGraph(store, graph =>
    Object.entries(graph?.processors ?? {})
      .filter(([, processor]) => processor.nodes && name in processor.nodes)
      .map(([one]) => one)
      .join(', ')
  );
  if (!node) return <p>This node is gone.</p>;
  const { memory, since, error, state } = node;
  const facts: [string, string | null | undefined | false][] = [
    ['Host', node.host],
    ['CPUs in use', usage(node)],
    ['By your other flows', node.others ? `${node.others}` : null],
    ['Memory', memory && `${bytes(memory.used)} of ${bytes(memory.total)}`],
    ['Round trip', node.round_trip != null && duration(node.round_trip)],
    ['Python', node.python],
    ['ec_jupyter', node.version],
    ['Since', since ? clock(since) : null],
    ['Processors', processors],
    ['Requirements', node.requirements?.join(' ')]
  ];
  const act = async (op: string, said: string) => {
    const { panel } = store.view;
    if (!(await store.ask(op, { name }))) return;
    if (op !== 'node') store.shut(panel);
    store.say(said);
  };
  return (
    <>
      <p>
        <b>{nodeState(node)}</b>
        {node.note && ` · ${node.note}`}
      </p>
      {error && state !== 'up' && <p className="ec-warn">{error}</p>}
      <dl className="ec-keys">
        {facts.map(
          ([key, text]) =>
            text && (
              <div key={key}>
                <dt>{key}</dt>
                <dd className="ec-number">{text}</dd>
              </div>
            )
        )}
      </dl>
      {name !== 'local' && (
        <div className="ec-acts">
          {error && state !== 'up' && <button onClick={() => void act('node', `trying to reach ${name}`)}>Try again</button>}
          <button onClick={() => void act('remove_node', `removed node ${name}; undo brings it back`)}>Remove</button>
        </div>
      )}
    </>
  );
}
