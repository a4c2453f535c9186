/** How far a task says it is. */

import type { JSX } from 'react';
import type { Progress } from './types';

const figure = (amount: number): string => amount.toLocaleString('en', { maximumFractionDigits: 1 });

/** As in "3 of 10 · fold two"; of a total that nobody knows nothing is said. */
export function progressText({ done, total, text }: Progress): string {
  return [total === null ? figure(done) : `${figure(done)} of ${figure(total)}`, text].filter(Boolean).join(' · ');
}

/** A bar named `label`; without a total it says only that something goes on. */
export function ProgressStrip({ of, label }: { of: Progress; label: string }): JSX.Element {
  const value = of.total ? { max: of.total, value: Math.min(of.done, of.total) } : {};
  return <progress className="ec-strip" aria-label={label} title={progressText(of)} {...value} />;
}
