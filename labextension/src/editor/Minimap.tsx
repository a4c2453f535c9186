/** Where one is in a picture that does not fit; absent where it does. */

import { useReactFlow, useStore as useFlow, type ReactFlowState } from '@xyflow/react';
import { memo, useMemo, useState, type JSX, type MouseEvent, type MutableRefObject } from 'react';
import { Icon } from './icons';
import type { SceneNode } from './scene';

const WIDTH = 150;
const HEIGHT = 96;
const corner = ({ transform: [x, y, zoom], width, height }: ReactFlowState): string => [x, y, zoom, width, height].join();

interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

export function Minimap({ nodes, untouched }: { nodes: SceneNode[]; untouched: MutableRefObject<boolean> }): JSX.Element {
  const [shown, show] = useState(true);
  const flow = useReactFlow();
  const [x, y, zoom, width, height] = useFlow(corner).split(',').map(Number) as [number, number, number, number, number];
  const view = { x: -x / zoom, y: -y / zoom, width: width / zoom, height: height / zoom };
  const all = useMemo(() => bounds(nodes.filter(node => !node.hidden).map(rectOf)), [nodes]);
  const overflows = all && width > 0 && !within(all, view);
  const zoomBy = (factor: number) => {
    untouched.current = false;
    void flow.zoomTo(zoom * factor);
  };
  return (
    <div className="ec-corner nopan nodrag nowheel">
      {overflows && shown && <Chart nodes={nodes} all={all} view={view} />}
      <div className="ec-zoom" role="group" aria-label="Zoom">
        {overflows && (
          <button aria-label="Map" aria-pressed={shown} title="Map of what does not fit" onClick={() => show(!shown)}>
            <Icon name="map" />
          </button>
        )}
        <button aria-label="Zoom out" title="Zoom out" onClick={() => zoomBy(1 / 1.25)}>
          <Icon name="minus" />
        </button>
        <button aria-label="Zoom in" title="Zoom in" onClick={() => zoomBy(1.25)}>
          <Icon name="add" />
        </button>
      </div>
    </div>
  );
}

function Chart({ nodes, all, view }: { nodes: SceneNode[]; all: Rect; view: Rect }): JSX.Element {
  const flow = useReactFlow();
  const whole = bounds([all, view])!;
  const scale = Math.min(WIDTH / whole.width, HEIGHT / whole.height);
  const go = (event: MouseEvent<SVGSVGElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / scale + whole.x, (event.clientY - box.top) / scale + whole.y];
    void flow.setCenter(x, y, { zoom: flow.getZoom() });
  };
  const size = { width: whole.width * scale, height: whole.height * scale };
  return (
    <svg className="ec-map" {...size} viewBox={`${whole.x} ${whole.y} ${whole.width} ${whole.height}`} onClick={go}>
      <title>Map: click to go there</title>
      <Shapes nodes={nodes} />
      <rect className="ec-map-view" {...view} strokeWidth={2 / scale} />
    </svg>
  );
}

// memoised: panning moves only the frame over it
const Shapes = memo(function Shapes({ nodes }: { nodes: SceneNode[] }): JSX.Element {
  return (
    <>
      {nodes.map(node =>
        node.hidden ? null : <rect key={node.id} className={`ec-map-${node.type}`} {...rectOf(node)} />
      )}
    </>
  );
});

function rectOf(node: SceneNode): Rect {
  return { ...node.position, width: node.width!, height: node.height! };
}

function bounds(rects: Rect[]): Rect | null {
  if (!rects.length) return null;
  const x = Math.min(...rects.map(rect => rect.x));
  const y = Math.min(...rects.map(rect => rect.y));
  const right = Math.max(...rects.map(rect => rect.x + rect.width));
  const bottom = Math.max(...rects.map(rect => rect.y + rect.height));
  return { x, y, width: right - x, height: bottom - y };
}

function within(inner: Rect, outer: Rect): boolean {
  return (
    inner.x >= outer.x &&
    inner.y >= outer.y &&
    inner.x + inner.width <= outer.x + outer.width &&
    inner.y + inner.height <= outer.y + outer.height
  );
}
