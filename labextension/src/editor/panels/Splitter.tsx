/** The edge of the panel: dragged, or moved by arrow keys, it gives the panel more room or less, and is remembered. */

import { useEffect, useRef, type JSX, type KeyboardEvent, type PointerEvent } from 'react';
import { recall, remember } from '../remembered';

const STEP = 24;
/** As style/panels.css holds the panel: pixels, and a part of what it shares with the picture. */
const LEAST = { right: 260, below: 150 };
const MOST = 0.7;

export type Side = 'right' | 'below';

export function Splitter({ side }: { side: Side }): JSX.Element {
  const edge = useRef<HTMLDivElement>(null);
  const below = side === 'below';
  const panel = () => edge.current!.parentElement!;
  const size = () => (below ? panel().offsetHeight : panel().offsetWidth);
  const most = () => {
    const desk = panel().parentElement!;
    return MOST * (below ? desk.clientHeight : desk.clientWidth);
  };
  const tell = () => {
    for (const [word, value] of [
      ['now', size()],
      ['min', LEAST[side]],
      ['max', most()]
    ] as const) {
      edge.current!.setAttribute(`aria-value${word}`, String(Math.round(value)));
    }
  };
  /** Null: as wide as it is by itself. */
  const resize = (to: number | null) => {
    const held = to === null ? null : `${Math.round(Math.min(Math.max(to, LEAST[side]), most()))}px`;
    panel().style.setProperty('--ec-size', held);
    remember(`panel-${side}`, held);
    tell();
  };
  useEffect(() => {
    panel().style.setProperty('--ec-size', recall(`panel-${side}`));
    tell();
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [side]);
  const drag = (event: PointerEvent) => {
    if (!edge.current!.hasPointerCapture(event.pointerId)) return;
    const { right, bottom } = panel().getBoundingClientRect();
    resize(below ? bottom - event.clientY : right - event.clientX);
  };
  const key = (event: KeyboardEvent) => {
    const [more, less] = below ? ['ArrowUp', 'ArrowDown'] : ['ArrowLeft', 'ArrowRight'];
    if (event.key === more) resize(size() + STEP);
    else if (event.key === less) resize(size() - STEP);
    else if (event.key === 'Home') resize(0);
    else if (event.key === 'End') resize(most());
    else if (event.key === 'Enter') resize(null);
    else return;
    event.preventDefault();
  };
  return (
    <div
      ref={edge}
      className="ec-edge"
      role="separator"
      tabIndex={0}
      aria-label="Size of the panel"
      aria-orientation={below ? 'horizontal' : 'vertical'}
      title="Drag, or use the arrow keys; double click or Enter for the usual size"
      onPointerDown={event => edge.current!.setPointerCapture(event.pointerId)}
      onPointerMove={drag}
      onDoubleClick={() => resize(null)}
      onKeyDown={key}
    />
  );
}
