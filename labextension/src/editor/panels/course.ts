/** The last hour as an engine tells it, made ready to be drawn. Pure. */

export type Kind = 'socket' | 'processor' | 'node';

/** What a row of the last hour, or a point of it, says; seconds and bytes. */
export interface Figures {
  of: Kind;
  name: string;
  ended: number;
  failed: number;
  per_second: number;
  p50: number | null;
  p95: number | null;
  waited_p50: number | null;
  waited_p95: number | null;
  queued: number;
  most_queued: number;
  running: number;
  cpu: number;
  memory: number;
}

export interface Row extends Figures {
  /** Calls that ended in each point of the hour. */
  pulse?: number[];
}

export interface Point extends Figures {
  at: number;
}

export interface Statistics {
  time: number;
  began: number;
  step: number;
  points: number;
  rows: Row[];
  course?: Point[];
}

export type Word = Exclude<keyof Figures, 'of' | 'name'>;

/** When each point of the hour begins, oldest first. */
export function times({ time, step, points }: Statistics): number[] {
  const last = Math.floor(time / step) * step;
  return Array.from({ length: points }, (_, at) => last - (points - 1 - at) * step);
}

/** A figure at each of these times: where nothing was, 0, or null where it is no amount. */
export function values(at: number[], course: Point[], word: Word): (number | null)[] {
  const known = new Map(course.map(point => [point.at, point[word]]));
  const none = /p\d\d$|memory/.test(word) ? null : 0;
  return at.map(time => known.get(time) ?? none);
}

/** A round number that is not smaller: 1, 2 or 5 times a power of ten. */
export function ceiling(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return (([1, 2, 5, 10].find(one => one * power >= value * (1 - 1e-9)) ?? 10) * 1e9 * power) / 1e9;
}

/** The path of a line through points, in a box of so many units; a point without a number is a gap, one alone a dash. */
export function path(points: (number | null)[], top: number, width: number, height: number): string {
  const x = (at: number) => (at * width) / Math.max(1, points.length - 1);
  const parts: string[] = [];
  points.forEach((value, at) => {
    if (value === null) return;
    const y = (height - (Math.min(value, top) / top) * height).toFixed(1);
    const begins = at === 0 || points[at - 1] === null;
    const alone = begins && (at === points.length - 1 || points[at + 1] === null);
    parts.push(alone ? `M${(x(at) - 1).toFixed(1)} ${y}h2` : `${begins ? 'M' : 'L'}${x(at).toFixed(1)} ${y}`);
  });
  return parts.join('');
}
