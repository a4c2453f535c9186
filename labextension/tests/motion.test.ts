import { expect, test } from 'vitest';
import { mayCross, Pace } from '../src/editor/motion';

test('six dots cross at once, and the next when one has arrived', () => {
  const granted = [0, 10, 20, 30, 40, 50, 60].map(at => mayCross(at));
  expect(granted).toEqual([true, true, true, true, true, true, false]);
  expect(mayCross(299)).toBe(false);
  expect(mayCross(301)).toBe(true);
});

test('numbers are drawn with all that come, and less often where drawing them takes the frames', () => {
  const pace = new Pace();
  expect(pace.due(0, false)).toBe(true);
  pace.drew(0, 17);
  expect(pace.due(17, false)).toBe(true);
  // in somebody's hand all else lies still
  expect(pace.due(400, true)).toBe(false);
  expect(pace.due(500, true)).toBe(true);
  pace.drew(1000, 1060);
  expect(pace.due(1100, false)).toBe(false);
  expect(pace.due(1180, false)).toBe(true);
  // a page that was hidden meanwhile
  pace.drew(2000, 60_000);
  expect(pace.due(60_000, false)).toBe(true);
  pace.drew(60_000, 90_000);
  expect(pace.due(60_999, false)).toBe(false);
  expect(pace.due(61_000, false)).toBe(true);
});
