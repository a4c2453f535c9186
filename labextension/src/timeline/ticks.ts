/** Times at which an axis has its marks. Pure. */

const STEPS = [60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400, 172_800, 604_800];

/** At most `most` marks, a round number of seconds apart. */
export function ticks(from: number, to: number, most: number): { step: number; times: number[] } {
  const least = (to - from) / most;
  const step = least > 30 ? (STEPS.find(one => one >= least) ?? Math.ceil(least / 604_800) * 604_800) : round(least);
  const times: number[] = [];
  for (let at = Math.ceil(from / step); at * step <= to && times.length <= most + 1; at++) times.push(at * step);
  return { step, times };
}

/** The next of 1, 2, 5, 10, 20, 50... above; up to a minute also 30. */
function round(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  const found = [1, 2, 5, 10].map(one => one * power).find(one => one >= least * 0.999)!;
  return found > 20 ? (found > 30 ? 60 : 30) : found;
}

/** A time of day, as fine as marks that far apart ask for. */
export function clockOf(time: number, step: number): string {
  const date = new Date(time * 1000);
  if (step >= 86_400) return date.toLocaleDateString([], { month: 'short', day: 'numeric' });
  if (step >= 60) return date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  const text = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
  const digits = step >= 1 ? 0 : Math.min(6, Math.ceil(-Math.log10(step)));
  const part = Math.abs(time - Math.floor(time));
  return digits ? `${text}${part.toFixed(digits).slice(1)}` : text;
}
