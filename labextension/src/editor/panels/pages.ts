/** The lines of a log that a panel has, page by page, and the places from which more of them are asked for. Pure. */

export type Level = 'info' | 'warning' | 'error';

export interface Line {
  time: number;
  level: Level;
  kind: string;
  socket: string | null;
  request: number | null;
  run: number | null;
  text: string;
}

/** Where in each of the engine's tables. */
export type Place = Record<string, number>;

/** What the engine answers. */
export interface Told {
  lines: Line[];
  older?: Place | null;
  newer?: Place;
}

/** Lines, and the place before the first of them; null: there is nothing before. */
interface Page {
  before: Place | null;
  lines: Line[];
}

export interface Pages {
  pages: Page[];
  newer: Place;
}

/** So many lines are kept while one follows; the rest is asked for again where somebody wants it. */
export const MOST = 1000;

export const first = ({ lines, older = null, newer = {} }: Told): Pages => ({ pages: [{ before: older, lines }], newer });

export const before = ({ pages }: Pages): Place | null => pages[0]?.before ?? null;

export const linesOf = ({ pages }: Pages): Line[] => pages.flatMap(page => page.lines);

/** With the page that was asked for from the place before. */
export function earlier(known: Pages, { lines, older = null }: Told): Pages {
  return { ...known, pages: [{ before: older, lines }, ...known.pages] };
}

/** With what came since; of more than `MOST` lines whole pages go at the front. */
export function since(known: Pages, { lines, newer = known.newer }: Told): Pages {
  if (!lines.length) return { ...known, newer };
  const place = Object.fromEntries(Object.entries(known.newer).map(([table, at]) => [table, at + 1]));
  const pages = [...known.pages, { before: place, lines }];
  let n = pages.reduce((sum, page) => sum + page.lines.length, 0);
  while (n > MOST && pages.length > 1) n -= pages.shift()!.lines.length;
  return { pages, newer };
}
