import { expect, test } from 'vitest';
import { mayCross } from '../src/editor/motion';

test('six dots cross at once, and the next when one has arrived', () => {
  const granted = [0, 10, 20, 30, 40, 50, 60].map(at => mayCross(at));
  expect(granted).toEqual([true, true, true, true, true, true, false]);
  expect(mayCross(299)).toBe(false);
  expect(mayCross(301)).toBe(true);
});
