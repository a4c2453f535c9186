/** The last value of each socket whose card is seen: asked for when there is a new one, a few a second at most. */

import type { Store } from './store';
import type { Shown } from './types';

/** So many may be asked for at once when a picture is opened, and then so many a second. */
const BURST = 16;
const PER_SECOND = 4;
/** Milliseconds between two looks at what is due. */
const TICK = 250;
/** The same, where all that is new is out of sight. */
const UNSEEN = 1000;
/** Questions that wait for their answer; a kernel that hears only after its cell gets no more of them. */
const WAITING = 4;

/** The newest call of a socket that has failed. */
export interface Failure {
  id: number;
  type: string;
  message: string;
}

export class Looks {
  private shown = new Map<string, Shown>();
  /** How many results a socket had when its value was asked for. */
  private asked = new Map<string, number>();
  private failures = new Map<string, Failure>();
  /** How many of a socket had failed when that was asked. */
  private failed = new Map<string, number>();
  private cards = new Map<string, Element>();
  private waiting = new Set<string>();
  private budget = BURST;
  private refilled = performance.now();
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly store: Store) {}

  of = (socket: string): Shown | null =>
    this.store.past.on ? this.store.past.valueOf(socket) : (this.shown.get(socket) ?? null);

  failureOf = (socket: string): Failure | null => (this.store.past.on ? null : (this.failures.get(socket) ?? null));

  /** A card is drawn, near enough for a value; until the function it returns is called. */
  see(socket: string, card: Element): () => void {
    this.cards.set(socket, card);
    this.due();
    return () => {
      if (this.cards.get(socket) === card) this.cards.delete(socket);
    };
  }

  /** There may be something new. */
  due(after = this.budget === BURST ? 0 : TICK): void {
    this.timer ??= setTimeout(() => this.look(), after);
  }

  close(): void {
    if (this.timer) clearTimeout(this.timer);
    this.cards.clear();
  }

  private look(): void {
    this.timer = null;
    const now = performance.now();
    this.budget = Math.min(BURST, this.budget + ((now - this.refilled) / 1000) * PER_SECOND);
    this.refilled = now;
    const { life } = this.store;
    if (document.hidden || (life !== 'live' && life !== 'busy')) return;
    const fresh = [...this.cards.keys()].filter(name => this.isNew(name));
    const seen = fresh.filter(one => this.isSeen(one));
    for (const name of seen.slice(0, Math.max(0, Math.min(this.budget, WAITING - this.waiting.size)))) {
      this.budget -= 1;
      void this.ask(name);
    }
    // what is out of sight may be scrolled to
    if (fresh.length) this.due(seen.length ? TICK : UNSEEN);
  }

  private isNew(name: string): boolean {
    const { done, failed } = this.store.countsOf(name);
    if (!done && this.shown.delete(name)) this.store.changed(`v:${name}`);
    if (!failed && this.failures.delete(name)) this.store.changed(`v:${name}`);
    const fresh = done > 0 && this.asked.get(name) !== done;
    return (fresh || (failed > 0 && this.failed.get(name) !== failed)) && !this.waiting.has(name);
  }

  private isSeen(name: string): boolean {
    const box = this.cards.get(name)!.getBoundingClientRect();
    const stage = this.store.box?.querySelector('.ec-stage')?.getBoundingClientRect();
    if (!stage || !box.width) return false;
    const [top, bottom] = [Math.max(0, stage.top), Math.min(window.innerHeight, stage.bottom)];
    return box.right > stage.left && box.left < stage.right && box.bottom > top && box.top < bottom;
  }

  private async ask(name: string): Promise<void> {
    this.waiting.add(name);
    const { done, failed } = this.store.countsOf(name);
    if (done !== this.asked.get(name) && done) await this.askValue(name, done);
    if (failed !== this.failed.get(name) && failed) await this.askFailure(name, failed);
    this.waiting.delete(name);
    this.due();
  }

  private async askValue(name: string, done: number): Promise<void> {
    this.asked.set(name, done);
    const answer = await this.store.host.command('preview', { socket: name, rich: true });
    // what was seen before stays, if there is nothing better
    if (!answer.ok) return;
    this.shown.set(name, answer as unknown as Shown);
    this.store.changed(`v:${name}`);
  }

  private async askFailure(name: string, failed: number): Promise<void> {
    this.failed.set(name, failed);
    const answer = await this.store.host.command('requests', { socket: name, state: 'failed', newest: true, limit: 1 });
    const [row] = (answer.ok ? answer['rows'] : []) as { id: number; error?: { type: string; message: string } | null }[];
    if (!row?.error) return;
    this.failures.set(name, { id: row.id, type: row.error.type, message: row.error.message });
    this.store.changed(`v:${name}`);
  }
}
