/** The way of one run, or of one request of it, through the picture: what lights up while the rest is dim. */

import { useCallback, useSyncExternalStore } from 'react';
import type { Store } from './store';
import type { Answer, Plug } from './types';

/** A run as the engine tells of it. */
export interface Way {
  run: number;
  state: string;
  /** How many of its requests are in which state, by socket. */
  sockets: Record<string, Record<string, number>>;
  /** Values by plug. */
  plugs: Record<string, number>;
  /** Socket, argument, and how many values wait there. */
  waits: [string, string, number][];
  /** It has more requests than were counted. */
  more: boolean;
}

/** What a request came from and led to. */
interface Lineage {
  /** Request, request that it fed, argument. */
  edges: [number, number, string][];
  sockets: Record<string, string>;
}

const NONE: Record<string, number> = {};
/** Milliseconds between two looks at a run that goes on. */
const AGAIN = 1000;

export class Story {
  way: Way | null = null;
  /** The request whose way it is; null: the whole run's. */
  request: number | null = null;
  private sockets: ReadonlySet<string> = new Set();
  private plugs = new Map<string, number>();
  private waits = new Map<string, number>();
  private turn = 0;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private seen = '';

  constructor(private readonly store: Store) {}

  get on(): boolean {
    return this.way !== null;
  }

  lights = (socket: string): boolean => this.sockets.has(socket);
  /** How many values went through a plug; 0: it is not on the way. */
  carried = (plug: Plug): number => this.plugs.get(plugKey(plug.source, plug.target, plug.argument)) ?? 0;
  countsOf = (socket: string): Record<string, number> => this.way?.sockets[socket] ?? NONE;
  waitsAt = (socket: string, argument: string): number => this.waits.get(`${socket} ${argument}`) ?? 0;

  /** Lights up the run that a request belongs to, or (`alone`) what that request came from and led to. */
  async choose(request: number, alone = false): Promise<boolean> {
    const mine = ++this.turn;
    const [way, lineage] = await Promise.all([
      this.store.host.command('way', { id: request }),
      alone ? this.store.host.command('lineage', { id: request }) : null
    ]);
    if (mine !== this.turn) return false;
    const wrong = [way, lineage].find((answer): answer is Answer => answer !== null && !answer.ok);
    if (wrong) {
      this.store.say(wrong.error ?? 'its way is not known');
      return false;
    }
    this.request = alone ? request : null;
    this.light(way as unknown as Way, lineage as unknown as Lineage | null);
    return true;
  }

  clear(): void {
    if (!this.way) return;
    this.turn++;
    this.way = this.request = null;
    this.sockets = new Set();
    this.plugs.clear();
    this.waits.clear();
    this.store.say('all of the flow again');
    this.store.changed('story');
  }

  /** There are new numbers: its way may go on. */
  due(): void {
    if (this.timer || !this.way || this.seen === this.numbers()) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      if (!this.way || document.hidden) return;
      void this.choose(this.request ?? this.way.run, this.request !== null);
    }, AGAIN);
  }

  close(): void {
    if (this.timer) clearTimeout(this.timer);
  }

  private light(way: Way, lineage: Lineage | null): void {
    this.way = way;
    this.waits = new Map(way.waits.map(([socket, argument, count]) => [`${socket} ${argument}`, count]));
    this.plugs = lineage ? carriedBy(lineage) : this.ofRun(way);
    const ends = [...this.plugs.keys()].flatMap(key => (JSON.parse(key) as string[]).slice(0, 2));
    const begun = lineage ? [lineage.sockets[String(this.request)] ?? ''] : Object.keys(way.sockets);
    this.sockets = new Set([...begun, ...ends, ...(lineage ? [] : way.waits.map(([socket]) => socket))]);
    this.seen = this.numbers();
    this.store.changed('story');
  }

  private ofRun(way: Way): Map<string, number> {
    const found = new Map<string, number>();
    for (const { id, source, target, argument } of this.store.graph?.plugs ?? []) {
      const count = way.plugs[String(id)];
      if (count) found.set(plugKey(source, target, argument), count);
    }
    return found;
  }

  private numbers(): string {
    return JSON.stringify([...this.sockets].map(name => ({ ...this.store.countsOf(name), progress: null })));
  }
}

const plugKey = (source: string, target: string, argument: string): string => JSON.stringify([source, target, argument]);

function carriedBy({ edges, sockets }: Lineage): Map<string, number> {
  const found = new Map<string, number>();
  for (const [source, target, argument] of edges) {
    const key = plugKey(sockets[String(source)] ?? '', sockets[String(target)] ?? '', argument);
    found.set(key, (found.get(key) ?? 0) + 1);
  }
  return found;
}

export function useStory<T>(store: Store, read: (story: Story) => T): T {
  const subscribe = useCallback((callback: () => void) => store.subscribe('story', callback), [store]);
  return useSyncExternalStore(subscribe, () => read(store.story));
}
