/** A processor around its sockets; folded, it is one card. */

import type { NodeProps } from '@xyflow/react';
import { memo, type JSX } from 'react';
import { Cells } from './Cells';
import { useStore } from './context';
import { pause } from './edits';
import { Frame } from './Frame';
import { Icon } from './icons';
import type { FrameNode } from './scene';
import { useGraph, useNodeText, useProcessor, useView } from './store';
import { nodeState } from './words';

export const ProcessorFrame = memo(function ProcessorFrame({ data, selected }: NodeProps<FrameNode>): JSX.Element | null {
  const store = useStore();
  const { name } = data;
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
  const { running, workers = running } = useProcessor(store, name) ?? { running: 0 };
  const drop = useView(store, view => view.drop === name);
  if (!processor) return null;
  const { paused } = processor;
  const cpus = processor.cpus ?? (Number(cells) || 'all');
  const several = Object.keys(processor.nodes ?? {}).length > 1;
  const says = (
    <>
      <Cells cpus={Number(cells)} used={workers} />
      <span className="ec-muted ec-group-cpus" title={`${node}: calls that run now, and the CPUs they may use`}>
        <span className="ec-number">{running}</span>
        {several || workers < running ? ' running' : `/${cpus} CPU${cpus === 1 ? '' : 's'}`} {paused && '· paused'}{' '}
        {node && `· ${node}`}
      </span>
    </>
  );
  const button = (
    <button
      tabIndex={-1}
      aria-label={`${paused ? 'Resume' : 'Pause'} processor ${name}`}
      title={paused ? 'Resume' : 'Pause: what runs ends, nothing new starts'}
      onClick={() => void pause(store, { processor: name }, !paused)}
    >
      <Icon name={paused ? 'running' : 'paused'} />
    </button>
  );
  return (
    <Frame
      place={{ kind: 'processor', processor: name }}
      data={data}
      selected={selected}
      marks={[paused && 'ec-is-paused', drop && 'ec-drop']}
      says={says}
      buttons={button}
    >
      {data.sockets.length === 0 && <div className="ec-group-sum ec-muted">no sockets: move one here</div>}
    </Frame>
  );
});
