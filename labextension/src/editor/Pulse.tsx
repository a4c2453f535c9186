/** How many calls ended over the last hour, as a small line; what it says stands beside it in numbers. */

import type { JSX } from 'react';
import { path } from './panels/course';

const WIDTH = 60;
const HEIGHT = 14;
/** Points of the hour that are drawn as one: there are no more pixels. */
const TOGETHER = 2;

export function Pulse({ points }: { points: number[] }): JSX.Element {
  // the last one goes on still, and would look like an end
  const over = points.slice(points.length % 2 ? 0 : 1, -1);
  const drawn = over.flatMap((one, at) => (at % TOGETHER ? [] : [one + (over[at + 1] ?? 0)]));
  const top = Math.max(1, ...drawn);
  return (
    <svg className="ec-pulse" viewBox={`0 -1 ${WIDTH} ${HEIGHT + 2}`} aria-hidden="true" focusable="false">
      <path d={path(drawn, top, WIDTH, HEIGHT)} />
    </svg>
  );
}
