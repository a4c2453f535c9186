/** A plug, and on it how many values are on their way. */

import { BaseEdge, EdgeLabelRenderer, getBezierPath, type EdgeProps } from '@xyflow/react';
import { memo, useRef, type JSX } from 'react';
import { useStore } from './context';
import { marksOf, pointAt } from './labels';
import type { PlugEdge } from './scene';
import { useStory } from './story';
import { isFar, useArrivals, useCounts, useDepth, useLife, useView } from './store';
import { mayCross } from './motion';
import type { Plug } from './types';
import { keyOf, plugName } from './wiring';
import { short } from './words';

export const PlugLine = memo(function PlugLine(props: EdgeProps<PlugEdge>): JSX.Element {
  const { data, selected, markerEnd } = props;
  const store = useStore();
  const depth = useDepth(store, data!.plugs);
  const far = useView(store, isFar);
  const [path, ...middle] = getBezierPath(props);
  const { plug, pending, at } = data!;
  const { x, y } = at === undefined ? { x: middle[0], y: middle[1] } : pointAt(props, at);
  const carried = useStory(store, story => (plug ? story.carried(plug) : 0));
  const classes = [
    'ec-line',
    far && 'ec-far',
    depth && 'ec-deep',
    plug?.on === 'error' && 'ec-on-error',
    pending && 'ec-pending',
    carried > 0 && 'ec-lit'
  ];
  return (
    <>
      <BaseEdge
        path={path}
        {...(!far && { markerEnd: markerEnd! })}
        interactionWidth={20}
        className={classes.filter(Boolean).join(' ')}
      />
      {!far && plug && moves.matches && <Motion plug={plug} path={path} />}
      {!far && <Label plug={plug} pending={pending} depth={depth} carried={carried} selected={!!selected} x={x} y={y} />}
    </>
  );
});

/** False where a person prefers what does not move. */
const moves = matchMedia('(prefers-reduced-motion: no-preference)');

/** Beads on the way into a socket that runs, and a dot for what has just come: one a message, however many they are. */
function Motion({ plug, path }: { plug: Plug; path: string }): JSX.Element {
  const store = useStore();
  const runs = useCounts(store, plug.target).running > 0;
  const came = useArrivals(store, plug.source, plug.on);
  const last = useRef({ came, crosses: false });
  if (came !== last.current.came) last.current = { came, crosses: mayCross(performance.now()) };
  return (
    <>
      {runs && <path className="ec-beads" d={path} />}
      {last.current.crosses && <circle key={came} className="ec-dot" r={4} style={{ offsetPath: `path("${path}")` }} />}
    </>
  );
}

interface LabelProps {
  plug: Plug | null;
  pending: boolean;
  depth: number;
  /** Values of the run that is lit up. */
  carried: number;
  selected: boolean;
  x: number;
  y: number;
}

/** Nothing where a plug only carries: each label is looked after at every move of the picture. */
function Label({ plug, pending, depth, carried, selected, x, y }: LabelProps): JSX.Element | null {
  const store = useStore();
  const busy = useLife(store) === 'busy';
  const marks = [
    pending && busy && 'waiting for the kernel',
    ...(plug ? marksOf(plug) : []),
    depth && !carried && short(depth),
    carried > 1 && `${short(carried)} values`
  ].filter(Boolean);
  if (!marks.length && (pending || !selected)) return null;
  const text = marks.join(' · ') || 'plug';
  const style = { transform: `translate(-50%, -50%) translate(${x}px, ${y}px)` };
  return (
    <EdgeLabelRenderer>
      {plug && !pending ? (
        <button
          className={`ec-depth nodrag nopan${carried ? ' ec-lit' : ''}${selected ? ' ec-selected' : ''}${depth ? ' ec-deep' : ''}`}
          style={style}
          tabIndex={-1}
          data-plug={keyOf(plug)}
          aria-label={`Plug ${plugName(plug)}: ${text}${depth ? ' on the way' : ''}`}
          title={`${plugName(plug)}${plug.pick ? ` pick ${plug.pick}` : ''}${plug.when ? ` when ${plug.when}` : ''}: ${depth} on the way`}
          onClick={() => store.set({ panel: { kind: 'plug', key: keyOf(plug) } })}
        >
          {text}
        </button>
      ) : (
        <div className="ec-depth" style={style}>
          {text}
        </div>
      )}
    </EdgeLabelRenderer>
  );
}
