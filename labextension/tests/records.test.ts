import { describe, expect, it } from 'vitest';
import { ceiling, path, times, values, type Point } from '../src/editor/panels/course';
import { before, earlier, first, linesOf, MOST, since, type Line } from '../src/editor/panels/pages';
import { amount } from '../src/editor/words';

const line = (n: number): Line => ({ time: n, level: 'info', kind: 'stdout', socket: null, request: n, run: null, text: `${n}` });
const lines = (from: number, n: number): Line[] => Array.from({ length: n }, (_, at) => line(from + at));

describe('pages of a log', () => {
  it('lie in order, and the place before them is that of the first', () => {
    let known = first({ lines: lines(10, 3), older: { output: 10 }, newer: { output: 12 } });
    known = since(known, { lines: lines(13, 2), newer: { output: 14 } });
    known = earlier(known, { lines: lines(8, 2), older: null });
    expect(linesOf(known).map(one => one.time)).toEqual([8, 9, 10, 11, 12, 13, 14]);
    expect(before(known)).toBeNull();
    expect(known.newer).toEqual({ output: 14 });
  });

  it('go at the front while one follows, and are asked for from where the rest begins', () => {
    let known = first({ lines: lines(1, MOST), older: null, newer: { output: MOST, event: 4 } });
    known = since(known, { lines: lines(MOST + 1, 5), newer: { output: MOST + 5, event: 4 } });
    expect(linesOf(known)).toHaveLength(5);
    expect(before(known)).toEqual({ output: MOST + 1, event: 5 });
  });

  it('of nothing new there is no page', () => {
    const known = first({ lines: [], older: null, newer: { output: 0 } });
    expect(since(known, { lines: [], newer: { output: 9 } })).toEqual({ ...known, newer: { output: 9 } });
  });
});

describe('the last hour as it is drawn', () => {
  const point = (at: number, ended: number, p50: number | null): Point =>
    ({ at, ended, per_second: ended / 30, p50, memory: 5 }) as Point;

  it('has a point for each half minute: 0 where nothing was, a gap where that is no amount', () => {
    const at = times({ time: 100, began: 0, step: 30, points: 3, rows: [] });
    expect(at).toEqual([30, 60, 90]);
    const course = [point(60, 3, 0.5)];
    expect(values(at, course, 'ended')).toEqual([0, 3, 0]);
    expect(values(at, course, 'p50')).toEqual([null, 0.5, null]);
    expect(values(at, course, 'memory')).toEqual([null, 5, null]);
  });

  it.each([
    [0, 1],
    [0.0013, 0.002],
    [5, 5],
    [5.1, 10],
    [60, 100]
  ])('an axis up to %d ends at %d', (value, end) => expect(ceiling(value)).toBeCloseTo(end, 9));

  it('a line has gaps, and a point alone is a dash', () => {
    expect(path([0, 2, null, 1, null], 2, 40, 10)).toBe('M0.0 10.0L10.0 0.0M29.0 5.0h2');
  });

  it('amounts are short', () =>
    expect([amount(0), amount(2.34), amount(12_345), amount(null)]).toEqual(['0', '2.3', '12k', '–']));
});
