/** Numbers and times as a person reads them. */

import type { Socket, SocketCounts } from './types';
import type { IconName } from './icons';

/** At most four characters, for a card; the whole number stands in its title. */
export function short(count: number): string {
  if (count < 10_000) return count.toLocaleString('en');
  if (count < 999_500) return `${Math.round(count / 1000)}k`;
  return `${(count / 1e6).toFixed(count < 9.95e6 ? 1 : 0)}M`;
}

export function clock(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}

export function age(seconds: number): string {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}

function two(number: number): string {
  return number < 10 ? number.toFixed(1).replace(/\.0$/, '') : number.toFixed(0);
}

export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds < 1) return `${two(seconds * 1000)} ms`;
  return seconds < 60 ? `${two(seconds)} s` : age(seconds);
}

export function rate(perSecond: number | null | undefined): string {
  return perSecond === null || perSecond === undefined ? '–' : `${two(perSecond)}/s`;
}

export function bytes(count: number): string {
  if (count < 1000) return `${count} B`;
  return count < 1e6 ? `${two(count / 1000)} kB` : `${two(count / 1e6)} MB`;
}

/** The one word that a card shows; what shouts comes first. */
export function stateOf(socket: Socket, counts: SocketCounts, processorPaused: boolean): IconName & string {
  if (socket.task.parked) return 'parked';
  if (counts.failed) return 'failed';
  if (socket.paused || processorPaused) return 'paused';
  if (counts.running) return 'running';
  if (counts.queued) return 'queued';
  if (counts.waiting || Object.values(counts.arrived).some(Boolean)) return 'waiting';
  return counts.done ? 'done' : 'idle';
}
