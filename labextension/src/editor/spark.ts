/** A line of numbers as paths. Pure. */

/** The line, and the area below it; null where there is none to draw. What is no number is a gap. */
export function spark(points: (number | null)[], width: number, height: number): { line: string; area: string } | null {
  const known = points.filter((one): one is number => one !== null);
  if (known.length < 2) return null;
  const low = Math.min(...known);
  const range = Math.max(...known) - low || 1;
  const x = (at: number): string => ((at * width) / (points.length - 1)).toFixed(1);
  const y = (value: number): string => (height - 2 - ((value - low) / range) * (height - 4)).toFixed(1);
  const runs: [number, number][][] = [[]];
  points.forEach((value, at) => {
    if (value === null) runs.push([]);
    else runs[runs.length - 1]!.push([at, value]);
  });
  const drawn = runs.filter(run => run.length);
  const line = drawn.map(run => `M${run.map(([at, value]) => `${x(at)} ${y(value)}`).join('L')}`).join('');
  const area = drawn
    .map(
      run =>
        `M${x(run[0]![0])} ${height}L${run.map(([at, value]) => `${x(at)} ${y(value)}`).join('L')}L${x(run[run.length - 1]![0])} ${height}Z`
    )
    .join('');
  return { line, area };
}
