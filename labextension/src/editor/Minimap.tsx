/** Where one is in a picture that does not fit, and how near one looks. Beside the picture, for they cover nothing of it. */

import { useNodes, useReactFlow, useStore as useFlow, type ReactFlowState } from '@xyflow/react';
import { memo, useMemo, type JSX, type MouseEvent } from 'react';
import { useStore } from './context';
import { Icon } from './icons';
import type { SceneNode } from './scene';
import { useView } from './store';

const WIDTH = 136;
const HEIGHT = 200;
const corner = ({ transform: [x, y, zoom], width, height }: ReactFlowState): string => [x, y, zoom, width, height].join();

interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

interface Seen {
  nodes: SceneNode[];
  /** Around all cards; null where there are none, or where all of it is in view. */
  all: Rect | null;
  view: Rect;
}

function useSeen(): Seen {
  const nodes = useNodes<SceneNode>();
  const [x, y, zoom, width, height] = useFlow(corner).split(',').map(Number) as [number, number, number, number, number];
  const view = { x: -x / zoom, y: -y / zoom, width: width / zoom, height: height / zoom };
  const all = useMemo(() => bounds(nodes.filter(node => !node.hidden).map(rectOf)), [nodes]);
  return { nodes, all: all && width > 0 && !within(all, view) ? all : null, view };
}

export function Minimap(): JSX.Element | null {
  const shown = useView(useStore(), view => view.map);
  const { nodes, all, view } = useSeen();
  if (!all || !shown) return null;
  return (
    <aside className="ec-map-strip" aria-label="Map">
      <Chart nodes={nodes} all={all} view={view} />
    </aside>
  );
}

export function Zoom(): JSX.Element {
  const store = useStore();
  const shown = useView(store, view => view.map);
  const flow = useReactFlow();
  const overflows = useSeen().all !== null;
  const zoomBy = (factor: number) => {
    store.untouched = false;
    void flow.zoomTo(flow.getZoom() * factor);
  };
  return (
    <div className="ec-zoom" role="group" aria-label="Zoom">
      {overflows && (
        <button
          aria-label="Show the map"
          aria-pressed={shown}
          title="Map of what does not fit"
          onClick={() => store.set({ map: !shown })}
        >
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
    <>{nodes.map(node => (node.hidden ? null : <rect key={node.id} className={`ec-map-${node.type}`} {...rectOf(node)} />))}</>
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
