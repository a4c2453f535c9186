/** Where the panel stands: where a person has put it, else at the right or below by the room there is. */

import { useEffect, useState, type RefObject } from 'react';
import { recall, remember } from '../remembered';
import type { Panel } from '../store';
import type { Side } from './Splitter';

/** Pixels of the editor's width that leave the picture its room beside a panel, and beside an outline as well. */
const BESIDE = 760;
const BETWEEN = 1060;

/** The side, and what puts the panel at the other one from now on, where that has the room. */
export function useSide(
  box: RefObject<HTMLElement | null>,
  kind: Panel['kind'] | undefined,
  outline: boolean
): [Side, (() => void) | null] {
  const [chosen, choose] = useState(() => recall('panel-side'));
  const [room, setRoom] = useState(0);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => {
      const { width } = entry!.contentRect;
      setRoom([BESIDE, BETWEEN].filter(least => width >= least).length);
    });
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, [box]);
  const fits = room >= (outline ? 2 : 1);
  // bars need the width
  const wanted = chosen ?? (kind === 'timeline' ? 'below' : 'right');
  const side: Side = fits && wanted === 'right' ? 'right' : 'below';
  const turn = () => {
    const other = side === 'right' ? 'below' : 'right';
    remember('panel-side', other);
    choose(other);
  };
  return [side, fits ? turn : null];
}
