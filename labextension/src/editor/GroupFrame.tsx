/** A group of sockets: a frame with its name; folded, one card with what they come to. */

import type { NodeProps } from '@xyflow/react';
import { memo, type JSX } from 'react';
import { Frame } from './Frame';
import type { FrameNode } from './scene';

export const GroupFrame = memo(function GroupFrame({ data, selected }: NodeProps<FrameNode>): JSX.Element {
  const says = <span className="ec-muted ec-group-cpus">group</span>;
  return (
    <Frame place={{ kind: 'group', group: data.name }} data={data} selected={selected} marks={['ec-of-group']} says={says} />
  );
});
