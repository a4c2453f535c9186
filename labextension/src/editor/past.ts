/** The flow as it was: while a time of the past is chosen, the picture shows that, and nothing can be changed. */

import { useCallback, useSyncExternalStore } from 'react';
import type { Store } from './store';
import type { Answer, Graph, Host, Metrics, Shown } from './types';

export interface Revision {
  n: number;
  text: string;
  time: number;
}

/** What only looks, and at what does not depend on now. */
const LOOKS = new Set(['past', 'since', 'request', 'preview', 'runs', 'way', 'lineage', 'timeline', 'history', 'part']);
/** Milliseconds that a slider stands still before the engine is asked. */
const STILL = 120;
/** Values of the past that are asked for at once. */
const VALUES = 24;

interface Then {
  graph: Graph;
  metrics: Metrics;
  revision: number;
  /** Newest result of each socket. */
  newest: Record<string, number>;
  whole: boolean;
}

export class Past {
  /** Seconds since the epoch of what is shown; null: now. */
  time: number | null = null;
  /** From when to when there is a past; null until the slider is opened. */
  since: { from: number; to: number; revisions: Revision[] } | null = null;
  /** Of what is shown; null until it is there. */
  revision: number | null = null;
  whole = true;
  private values = new Map<string, Shown>();
  private known = new Map<number, Shown>();
  private kept: { graph: Graph | null; metrics: Metrics | null } = { graph: null, metrics: null };
  private turn = 0;
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly store: Store) {}

  get on(): boolean {
    return this.time !== null;
  }

  valueOf = (socket: string): Shown | null => this.values.get(socket) ?? null;
  /** The edit that was in force. */
  get edit(): Revision | undefined {
    return this.since?.revisions.filter(one => one.time <= (this.time ?? 0)).pop();
  }

  /** A host that changes nothing while the past is shown. */
  guard(host: Host): Host {
    const command = (op: string, args?: Record<string, unknown>): Promise<Answer> => {
      if (!this.on || LOOKS.has(op)) return host.command(op, args);
      return Promise.resolve({ ok: false, error: 'this is the past: go back to now to do that' });
    };
    return new Proxy(host, {
      get: (target, key) => {
        if (key === 'command') return command;
        const found: unknown = Reflect.get(target, key, target);
        return typeof found === 'function' ? (found as (...args: unknown[]) => unknown).bind(target) : found;
      }
    });
  }

  /** Opens the slider. */
  async open(): Promise<void> {
    const answer = await this.store.ask('since');
    if (!answer) return;
    this.since = answer as unknown as NonNullable<Past['since']>;
    this.store.changed('past');
  }

  shut(): void {
    this.back();
    this.since = null;
    this.store.changed('past');
  }

  go(time: number): void {
    const first = !this.on;
    this.time = time;
    if (first) this.leave();
    this.store.changed('past');
    if (this.timer) clearTimeout(this.timer);
    const mine = ++this.turn;
    this.timer = setTimeout(() => void this.ask(time, mine), STILL);
  }

  back(): void {
    if (!this.on) return;
    this.turn++;
    this.time = this.revision = null;
    this.values.clear();
    const { graph, metrics } = this.kept;
    this.store.draw(graph, metrics && { ...metrics, full: true });
    this.store.relive();
    this.store.say('back to now');
    this.store.changed('past');
  }

  /** Keeps what comes of the flow for when it is now again; whether it does. */
  keepGraph(graph: Graph | null): boolean {
    if (this.on) this.kept.graph = graph;
    return this.on;
  }

  keepMetrics(metrics: Metrics): boolean {
    if (!this.on) return false;
    const before = this.kept.metrics;
    this.kept.metrics =
      metrics.full || !before
        ? metrics
        : {
            ...metrics,
            sockets: { ...before.sockets, ...metrics.sockets },
            processors: { ...before.processors, ...metrics.processors },
            plugs: { ...before.plugs, ...metrics.plugs }
          };
    return true;
  }

  private leave(): void {
    this.kept = { graph: this.store.graph, metrics: this.store.numbers() };
    this.store.story.clear();
    this.store.say('the flow as it was');
    this.store.set({ panel: null, chooser: null, refusal: null, plugging: null });
    this.store.relive();
  }

  private async ask(time: number, mine: number): Promise<void> {
    const answer = await this.store.command('past', { time });
    if (mine !== this.turn) return;
    if (!answer.ok) return this.store.say(answer.error ?? 'the past is not known');
    const { graph, metrics, revision, newest, whole } = answer as unknown as Then;
    [this.revision, this.whole] = [revision, whole];
    this.values.clear();
    this.store.draw(graph, metrics);
    this.store.changed('past');
    for (const socket of Object.keys(graph.sockets)) this.store.changed(`v:${socket}`);
    await this.show(newest, mine);
  }

  /** The last value that each socket had given. */
  private async show(newest: Record<string, number>, mine: number): Promise<void> {
    for (const [socket, request] of Object.entries(newest).slice(0, VALUES)) {
      const shown = this.known.get(request) ?? (await this.preview(request));
      if (mine !== this.turn) return;
      if (!shown) continue;
      this.values.set(socket, shown);
      this.store.changed(`v:${socket}`);
    }
  }

  private async preview(request: number): Promise<Shown | null> {
    const answer = await this.store.command('preview', { request, result: true, rich: true });
    if (!answer.ok) return null;
    const shown = { ...(answer as unknown as Shown), request };
    this.known.set(request, shown);
    return shown;
  }
}

export function usePast<T>(store: Store, read: (past: Past) => T): T {
  const subscribe = useCallback((callback: () => void) => store.subscribe('past', callback), [store]);
  return useSyncExternalStore(subscribe, () => read(store.past));
}
