/** How much may move at once: a browser without a GPU paints all that moves anew in each frame. */

/** Dots that cross plugs. */
const DOTS = 6;
/** Milliseconds one takes. */
const CROSSING = 300;
/** Plugs in a picture whose beads still move. */
export const BEADS = 24;

let under: number[] = [];

/** Whether one more dot may set out now. */
export function mayCross(now: number): boolean {
  under = under.filter(since => now - since < CROSSING);
  if (under.length >= DOTS) return false;
  under.push(now);
  return true;
}
