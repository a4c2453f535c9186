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

/** Milliseconds from one drawing of numbers to the next while a person drags. */
const HELD = 500;
/** So many times what drawing took goes by before the next: the rest is for what a person does. */
const REST = 3;
/** Milliseconds of a frame in which little is drawn, and the most that is waited for the next drawing. */
const [FRAME, LONGEST] = [34, 1000];

/** How often numbers are drawn: with all that come, or as often as leaves the picture its frames. */
export class Pace {
  private drawn = -Infinity;
  private took = 0;

  due(now: number, held: boolean): boolean {
    return now - this.drawn >= Math.max(held ? HELD : 0, Math.min(LONGEST, REST * this.took));
  }

  /** Numbers were drawn from `since`, and the next frame came at `until`. */
  drew(since: number, until: number): void {
    this.drawn = since;
    this.took = until - since > FRAME ? until - since : 0;
  }
}
