/** A processor around its sockets; folded, it is one card. */

import { Handle, Position, type NodeProps } from '@xyflow/react';
import { memo, type JSX } from 'react';
import { Cells } from './Cells';
import { fold } from './choices';
import { useStore } from './context';
import { pause } from './edits';
import { Icon } from './icons';
import type { GroupNode } from './scene';
import { isFar, useGraph, useNodeText, useProcessor, useView, type Store } from './store';
import { showPlace } from './views';
import { placeId } from './wiring';
import { nodeState, short } from './words';

export const ProcessorGroup = memo(function ProcessorGroup({ data, selected }: NodeProps<GroupNode>): JSX.Element | null {
  const store = useStore();
  const name = data.processor;
  const processor = useGraph(store, graph => graph?.processors[name]);
  const node = useNodeText(store, nodes => {
    const mine = processor?.nodes ?? (nodes.length === 1 ? { [nodes[0]!.name]: null } : {});
    const several = Object.keys(mine).length > 1;
    const text = (one: string) => {
      const found = nodes.find(other => other.name === one);
      const state = found && nodeState(found);
      return `${one}${several ? ` ${mine[one] ?? 'all'}` : ''}${state && state !== 'up' ? ` (${state})` : ''}`;
    };
    return Object.keys(mine).map(text).join(', ');
  });
  // where that is not said, all of its one node
  const cells = useNodeText(store, nodes => {
    const [only, more] = Object.keys(processor?.nodes ?? { [nodes[0]?.name ?? '']: null });
    const all = more === undefined ? nodes.find(one => one.name === only)?.cpus : 0;
    return String(processor?.cpus ?? all ?? 0);
  });
  const numbers = useProcessor(store, name);
  const far = useView(store, isFar);
  const drop = useView(store, view => view.drop === name);
  if (!processor) return null;
  const { paused } = processor;
  const cpus = processor.cpus ?? (Number(cells) || 'all');
  const several = Object.keys(processor.nodes ?? {}).length > 1;
  const running = numbers?.running ?? 0;
  const queued = numbers?.queued ?? 0;
  const classes = [
    'ec-group',
    selected && 'ec-selected',
    data.folded && 'ec-folded',
    paused && 'ec-is-paused',
    far && 'ec-far',
    drop && 'ec-drop'
  ];
  return (
    <div
      className={classes.filter(Boolean).join(' ')}
      role="group"
      aria-label={`processor ${name}`}
      data-place={placeId({ kind: 'processor', processor: name })}
      tabIndex={-1}
    >
      <div className="ec-group-title" onDoubleClick={() => showPlace(store, { kind: 'processor', processor: name })}>
        <b className="ec-name" title={`processor ${name}`}>
          {name}
        </b>
        {!far && (
          <>
            <Cells cpus={Number(cells)} used={running} />
            <span className="ec-muted ec-group-cpus" title={`${node}: calls that run now, and the CPUs they may use`}>
              <span className="ec-number">{running}</span>
              {several ? ' running' : `/${cpus} CPU${cpus === 1 ? '' : 's'}`} {paused && '· paused'} {node && `· ${node}`}
            </span>
            <Buttons store={store} name={name} paused={paused} folded={data.folded} empty={data.sockets.length === 0} />
          </>
        )}
      </div>
      {data.folded && (
        <>
          <Handle id="in" type="target" position={Position.Left} isConnectable={false} className="ec-stub" />
          <Handle id="out" type="source" position={Position.Right} isConnectable={false} className="ec-stub" />
          <div className="ec-group-sum">
            {data.sockets.length} sockets · {short(queued)} queued · {short(running)} running
          </div>
        </>
      )}
      {data.sockets.length === 0 && <div className="ec-group-sum ec-muted">no sockets: move one here</div>}
    </div>
  );
});

interface ButtonsProps {
  store: Store;
  name: string;
  paused: boolean;
  folded: boolean;
  empty: boolean;
}

function Buttons({ store, name, paused, folded, empty }: ButtonsProps): JSX.Element {
  const folding = folded ? 'Unfold' : 'Fold';
  return (
    <span className="ec-group-buttons nodrag">
      <button
        tabIndex={-1}
        aria-label={`${paused ? 'Resume' : 'Pause'} processor ${name}`}
        title={paused ? 'Resume' : 'Pause: what runs ends, nothing new starts'}
        onClick={() => void pause(store, { processor: name }, !paused)}
      >
        <Icon name={paused ? 'running' : 'paused'} />
      </button>
      {!empty && (
        <button tabIndex={-1} aria-label={`${folding} processor ${name}`} title={folding} onClick={() => fold(store, name)}>
          <Icon name={folded ? 'unfold' : 'fold'} />
        </button>
      )}
      <button
        tabIndex={-1}
        aria-label={`Details of processor ${name}`}
        title="CPUs and details"
        onClick={() => store.set({ panel: { kind: 'processor', processor: name } })}
      >
        <Icon name="more" />
      </button>
    </span>
  );
}
