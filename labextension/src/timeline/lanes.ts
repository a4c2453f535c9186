/** Bars of calls in rows, one for each CPU of each processor. Pure. */

/** Calls in columns; an index is a bar. */
export interface Bars {
  id: number[];
  run: number[];
  socket: number[];
  state: string[];
  attempt: number[];
  node: (string | null)[];
  slot: (number | null)[];
  started: number[];
  /** null while it runs. */
  seconds: (number | null)[];
  /** Names, and their processors, that `socket` counts in. */
  sockets: string[];
  processors: string[];
  end(bar: number, now: number): number;
  tookText(bar: number): string;
}

export class Lane {
  readonly starts: number[];
  private readonly longest: number;

  constructor(
    readonly processor: string,
    readonly cpu: string,
    /** The first of its processor. */
    readonly leads: boolean,
    /** By start. */
    readonly bars: number[],
    private readonly all: Bars
  ) {
    this.starts = bars.map(bar => all.started[bar]!);
    this.longest = bars.reduce((most, bar) => Math.max(most, all.seconds[bar] ?? Infinity), 0);
  }

  /** Place of the first bar that may reach a time. */
  from(time: number): number {
    if (this.longest === Infinity) return 0;
    return firstFrom(this.starts, time - this.longest);
  }

  /** When its last bar ends. */
  until(now: number): number {
    return this.bars.reduce((most, bar) => Math.max(most, this.all.end(bar, now)), -Infinity);
  }

  /** The bar at a time, or nearest to it within `room` seconds; -1: none. Of several the one that began last. */
  near(time: number, room: number, now: number): number {
    let [best, least] = [-1, room];
    for (let at = firstFrom(this.starts, time + room) - 1; at >= 0; at--) {
      const bar = this.bars[at]!;
      const [start, end] = [this.starts[at]!, this.all.end(bar, now)];
      if (start <= time && time <= end) return bar;
      const away = Math.max(start - time, time - end);
      if (away <= least) [best, least] = [bar, away];
      if (start < time - this.longest - room) break;
    }
    return best;
  }
}

function firstFrom(sorted: number[], value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A row for each CPU that calls ran on; those of a processor are neighbours. */
export function laid(bars: Bars): Lane[] {
  const rows = new Map<string, { processor: string; node: string; slot: number; bars: number[] }>();
  bars.id.forEach((_, bar) => {
    const processor = bars.processors[bars.socket[bar]!] ?? '';
    const [node, slot] = [bars.node[bar] ?? '', bars.slot[bar] ?? -1];
    const key = JSON.stringify([processor, node, slot]);
    const row = rows.get(key) ?? { processor, node, slot, bars: [] };
    row.bars.push(bar);
    rows.set(key, row);
  });
  const sorted = [...rows.values()].sort(
    (a, b) => a.processor.localeCompare(b.processor) || a.node.localeCompare(b.node) || a.slot - b.slot
  );
  return sorted.map((row, at) => {
    const inOrder = row.bars.sort((a, b) => bars.started[a]! - bars.started[b]!);
    const cpu = `${row.node || '?'} ${row.slot < 0 ? '?' : row.slot}`;
    return new Lane(row.processor, cpu, sorted[at - 1]?.processor !== row.processor, inOrder, bars);
  });
}
