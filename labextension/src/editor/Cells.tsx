/** CPUs of a processor as cells, filled while one is in use. */

import type { JSX } from 'react';

/** More cannot be told apart, and stand in words alone. */
const MOST = 16;

export function Cells({ cpus, used }: { cpus: number; used: number }): JSX.Element | null {
  if (cpus < 1 || cpus > MOST) return null;
  return (
    <span className="ec-cells" aria-hidden="true">
      {Array.from({ length: cpus }, (_, at) => (
        <i key={at} className={at < used ? 'ec-used' : undefined} />
      ))}
    </span>
  );
}
