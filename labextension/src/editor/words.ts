/** Numbers and times as a person reads them. */

import type { Graph, Node, Socket, SocketCounts } from './types';
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

export function seconds(time: number): string {
  return new Date(time * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
}

/** A mean or an amount that need not be whole. */
export function amount(number: number | null): string {
  if (number === null) return '–';
  return number >= 10_000 ? short(Math.round(number)) : two(number);
}

/** A time of day with its seconds; the date too, where that is not today's. */
export function moment(seconds: number): string {
  const date = new Date(seconds * 1000);
  const time = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
  const today = date.toDateString() === new Date().toDateString();
  return today ? time : `${date.toLocaleDateString([], { month: 'short', day: 'numeric' })}, ${time}`;
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
  if (count < 1e6) return `${two(count / 1000)} kB`;
  return count < 1e9 ? `${two(count / 1e6)} MB` : `${two(count / 1e9)} GB`;
}

/** A node's state; when it began, where that says how long something is amiss. */
export function nodeState({ state, since, leaving }: Node): string {
  if (leaving) return 'leaving';
  return state === 'away' && since ? `away since ${clock(since)}` : state;
}

/** Arguments of the command that makes a node, of what a person typed. */
export function nodeArgs({ name = '', host, cpus, requirements }: Record<string, string>): Record<string, unknown> {
  return {
    name: name.trim(),
    ...(host?.trim() && { host: host.trim() }),
    ...(cpus && { cpus: Number(cpus) }),
    ...(requirements?.trim() && { requirements: requirements.trim().split(/\s+/) })
  };
}

export const usage = ({ used, cpus }: Node): string => `${used ?? 0}/${cpus || '?'}`;

/** The one word that a card shows: what is so now. That calls have failed is told beside it, whatever it is. */
export function stateOf(socket: Socket, counts: SocketCounts, processorPaused: boolean): IconName & string {
  if (counts.aside) return 'aside';
  if (socket.task.parked) return 'parked';
  if (counts.running) return 'running';
  if (socket.paused || processorPaused) return 'paused';
  if (counts.asked) return 'asked';
  if (counts.failed) return 'failed';
  if (counts.queued) return 'queued';
  if (counts.delayed) return 'delayed';
  if (counts.waiting || [counts.arrived, counts.lists ?? {}].some(of => Object.values(of).some(Boolean))) return 'waiting';
  return counts.done ? 'done' : 'idle';
}

/** Counts that a card tells, in this order. */
export const COUNTED = ['asked', 'delayed', 'queued', 'running', 'done', 'failed'] as const;

/** A state as a person reads it. */
export const stateText = (state: string): string => STATE_TEXTS[state] ?? state;
const STATE_TEXTS: Record<string, string> = { asked: 'waits for a person', delayed: 'waits for its time' };

/** When a socket is called by itself, in words; empty for never. */
export const ticking = (graph: Graph | null, socket: string): string =>
  (graph?.schedules ?? [])
    .filter(one => one.socket === socket)
    .map(one => one.text)
    .join(', ');

/** How many values and lists an argument shows as waiting. */
export const waitingAt = ({ arrived, lists }: SocketCounts, argument: string): number =>
  (arrived[argument] ?? 0) + (lists?.[argument] ?? 0);

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
