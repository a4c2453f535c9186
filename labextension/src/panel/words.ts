/** What a flow is doing, in words: the same in the list, in the status bar and for a screen reader. */

import type { Node } from '../editor/types';
import { nodeState, usage } from '../editor/words';
import type { FlowRow } from './service';

const NUMBERS = ['running', 'queued', 'delayed', 'waiting', 'asked', 'failed'] as const;

export function state(row: FlowRow): string {
  if (row.running) return 'running';
  return row.killed ? 'was killed' : 'stopped';
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** Bytes as Python's tables tell them. */
export function room(bytes: number): string {
  const unit = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const amount = bytes / 1024 ** unit;
  return `${unit > 2 ? amount.toFixed(1) : Math.round(amount)} ${UNITS[unit]}`;
}

/** What takes it. */
export function rooms({ total: _, ...kinds }: Record<string, number>): string {
  const parts = Object.entries(kinds).map(([kind, bytes]) => `${kind} ${room(bytes)}`);
  return `On disk: ${parts.join(', ')}`;
}

/** The numbers that are not 0, the most urgent last. */
export function numbers(row: FlowRow): [name: string, n: number][] {
  const counts = row.counts ?? {};
  // values wait at joins, and a request that lacks some may be what the others of them belong to
  const found = NUMBERS.map((name): [string, number] => [
    name,
    Math.max(counts[name] ?? 0, name === 'waiting' ? row.arrived : 0)
  ]);
  return found.filter(([, n]) => n > 0);
}

/** A node, its CPUs, its state, and why that is so. */
export function nodeText(node: Node): string {
  const said = `${node.name}${node.cpus ? ` ${usage(node)} CPUs` : ''}, ${nodeState(node)}`;
  const why = node.state === 'up' ? null : (node.error ?? node.note);
  return why ? `${said}: ${why}` : said;
}

/** One line about all flows that run, or nothing. */
export function summary(rows: readonly FlowRow[]): string {
  const live = rows.filter(row => row.running);
  if (!live.length) return '';
  const sum = (name: string) => live.reduce((all, row) => all + (row.counts?.[name] ?? 0), 0);
  const parts = [`${live.length} ${live.length === 1 ? 'flow' : 'flows'} running`];
  const [calls, failed] = [sum('running'), sum('failed')];
  if (calls) parts.push(`${calls} ${calls === 1 ? 'call' : 'calls'}`);
  if (failed) parts.push(`${failed} failed`);
  return parts.join(' · ');
}

export function matches(row: FlowRow, text: string): boolean {
  const said = `${row.path} ${state(row)} ${numbers(row)
    .map(([name]) => name)
    .join(' ')}`.toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every(word => said.includes(word));
}
