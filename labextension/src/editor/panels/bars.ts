/** Calls of a timeline, in columns as they come from the engine. Pure. */

import type { Bars } from '../../timeline/lanes';
import { duration } from '../words';

export type { Bars };

export interface Columns {
  columns: Omit<Bars, 'sockets' | 'processors' | 'end' | 'tookText'>;
  sockets: string[];
  processors: string[];
}

export function barsOf({ columns, sockets, processors }: Columns): Bars {
  const { started, seconds } = columns;
  return {
    ...columns,
    sockets,
    processors,
    end: (bar, now) => started[bar]! + (seconds[bar] ?? Math.max(0, now - started[bar]!)),
    tookText: bar => (seconds[bar] === null ? 'still at work' : duration(seconds[bar]))
  };
}

const KEYS = ['id', 'run', 'state', 'attempt', 'node', 'slot', 'started', 'seconds'] as const;

/** All of both; of a call in both, what the newer says. The same object where nothing is new. */
export function merged(old: Bars | null, more: Bars, newer: boolean): Bars {
  if (!old) return more;
  const [base, over] = newer ? [old, more] : [more, old];
  const sockets = [...old.sockets];
  const processors = [...old.processors];
  more.sockets.forEach((name, at) => {
    const place = sockets.indexOf(name);
    processors[place < 0 ? sockets.push(name) - 1 : place] = more.processors[at]!;
  });
  const place = new Map(sockets.map((name, at) => [name, at]));
  const known = new Set(over.id.map((_, bar) => keyOf(over, bar)));
  // the newest names all that runs: what ran before and is not named has ended
  const kept = base.id
    .map((_, bar) => bar)
    .filter(bar => !known.has(keyOf(base, bar)) && !(newer && base.state[bar] === 'running'));
  const columns = Object.fromEntries(
    KEYS.map(key => [key, [...kept.map(bar => base[key][bar]), ...over[key]]])
  ) as unknown as Columns['columns'];
  const socketOf = (of: Bars, bar: number) => place.get(of.sockets[of.socket[bar]!]!)!;
  columns.socket = [...kept.map(bar => socketOf(base, bar)), ...over.id.map((_, bar) => socketOf(over, bar))];
  return barsOf({ columns, sockets, processors });
}

const keyOf = (bars: Bars, bar: number): string => `${bars.id[bar]} ${bars.attempt[bar]}`;
