/** The flow as a notebook's widget shows it: a synced graph, and custom messages for the rest. */

import type { Answer, Engine, Graph, Host, Life, Metrics, Parts } from '../editor/types';

/** What we use of an anywidget model. */
export interface Model {
  get(name: string): unknown;
  on(event: string, callback: (...args: never[]) => void): void;
  off(event: string, callback: (...args: never[]) => void): void;
  send(content: unknown): void;
}

type Message = ({ k: 'metrics' } & Metrics) | ({ k: 'engine' } & Engine) | ({ k: 'answer'; id: string } & Answer);

interface Asked {
  since: number;
  op: string;
  answered: (answer: Answer) => void;
}

/** Neither numbers nor an answer for so long: the kernel is gone. Python sends every second at the least. */
const GONE = 3000;
/** An answer that takes longer, while numbers come: the kernel hears only after its cell. */
const BUSY = 1000;
/** What takes a while by itself, and says nothing of the kernel: a worker makes it. */
const SLOW = new Set([
  'preview',
  'request',
  'svg',
  'code',
  'save',
  'runs',
  'lineage',
  'timeline',
  'past',
  'part',
  'versions',
  'redefine'
]);
const LOOK = 250;
/** Python gives a view up that says nothing for three times as long. */
const HERE = 10_000;

export class AnywidgetHost implements Host {
  engine: Engine | null = null;
  private state: Life = 'connecting';
  private heard = performance.now();
  private asked = new Map<string, Asked>();
  private count = 0;
  private met = false;
  private greeted = 0;
  private looked = true;
  // several views of one model share its messages: an answer is for whoever asked
  private readonly name = Math.random().toString(36).slice(2, 10);
  private metrics = new Set<(metrics: Metrics) => void>();
  private lives = new Set<(life: Life) => void>();
  private readonly timers: ReturnType<typeof setInterval>[];

  constructor(
    private readonly model: Model,
    private readonly element?: HTMLElement
  ) {
    model.on('msg:custom', this.receive);
    this.timers = [setInterval(() => this.check(), LOOK), setInterval(() => this.stay(), HERE)];
    window.addEventListener('pagehide', this.leave);
    element?.addEventListener('ec-still', this.still);
    this.greet(performance.now());
  }

  /** Until it is heard: a kernel that just makes a subshell for us may lose what comes in that moment. */
  private greet(now: number): void {
    this.greeted = now;
    if (!this.send({ k: 'hello', view: this.name })) this.unmet(true);
  }

  /** Absent where nobody listens: the output of our JupyterLab plugin that we stand in runs `flow.editor` anew. */
  get revive(): (() => void) | undefined {
    if (!this.element?.closest('.ec-output')) return undefined;
    return () => void this.element?.dispatchEvent(new CustomEvent('ec-revive', { bubbles: true }));
  }

  /** Whether there is nothing but wiring to show: the output that we stand in has a still picture, with numbers. */
  private unmet(value: boolean): void {
    this.element?.toggleAttribute('data-ec-unmet', value && !this.met);
  }

  close(): void {
    for (const timer of this.timers) clearInterval(timer);
    window.removeEventListener('pagehide', this.leave);
    this.element?.removeEventListener('ec-still', this.still);
    this.model.off('msg:custom', this.receive);
  }

  graph(): Graph | null {
    const graph = this.model.get('graph') as Partial<Graph> | null;
    return graph?.sockets ? (graph as Graph) : null;
  }

  onGraph(callback: (graph: Graph) => void): () => void {
    const changed = () => {
      const graph = this.graph();
      if (graph) callback(graph);
    };
    this.model.on('change:graph', changed);
    return () => this.model.off('change:graph', changed);
  }

  onMetrics(callback: (metrics: Metrics) => void): () => void {
    this.metrics.add(callback);
    return () => void this.metrics.delete(callback);
  }

  life(): Life {
    return this.state;
  }

  onLife(callback: (life: Life) => void): () => void {
    this.lives.add(callback);
    return () => void this.lives.delete(callback);
  }

  command(op: string, args: Record<string, unknown> = {}): Promise<Answer> {
    const id = `${this.name}-${++this.count}`;
    const message = { k: 'command', id, op, args, revision: this.graph()?.revision ?? null };
    if (this.state === 'gone' || !this.send(message)) {
      return Promise.resolve({ ok: false, error: 'the kernel is gone; nothing was changed' });
    }
    return new Promise(answered => this.asked.set(id, { since: performance.now(), op, answered }));
  }

  start(): void {
    void this.command('start');
  }

  /** Its text comes from the kernel, for a saved notebook is to carry no more than it shows. */
  async part<Name extends keyof Parts>(name: Name): Promise<Parts[Name]> {
    const { ok, text, error } = await this.command('part', { name });
    if (!ok) throw new Error(error);
    const url = URL.createObjectURL(new Blob([String(text)], { type: 'text/javascript' }));
    try {
      return (await import(/* webpackIgnore: true */ url)) as Parts[Name];
    } finally {
      URL.revokeObjectURL(url);
    }
  }

  look(visible: boolean): void {
    // while nobody looked nothing came, which says nothing of the kernel
    if (visible) this.heard = performance.now();
    this.looked = visible;
    this.send({ k: 'look', visible, view: this.name });
  }

  /** False where there is no kernel to send it to: Lab throws then. That it is gone shows in its silence. */
  private send(content: unknown): boolean {
    try {
      this.model.send(content);
      return true;
    } catch {
      return false;
    }
  }

  private stay(): void {
    if (this.looked) this.send({ k: 'here', view: this.name });
  }

  private leave = (): void => {
    this.send({ k: 'look', visible: false, view: this.name });
  };

  /** The output we stand in saves what it gets. */
  private still = (event: Event): void => {
    void this.command('svg').then(({ ok, text }) => (event as CustomEvent<(svg: string) => void>).detail(ok ? String(text) : ''));
  };

  private receive = (message: Message): void => {
    this.heard = performance.now();
    this.met = true;
    this.unmet(false);
    if (message.k === 'metrics') {
      for (const callback of this.metrics) callback(message);
    } else if (message.k === 'engine') {
      this.engine = message;
    } else if (message.k === 'answer') {
      this.asked.get(message.id)?.answered(message);
      this.asked.delete(message.id);
    }
    this.check();
  };

  private check(): void {
    const now = performance.now();
    if (!this.met && now - this.greeted > BUSY) this.greet(now);
    const silent = this.looked && now - this.heard > GONE;
    const late = [...this.asked.values()].some(one => now - one.since > BUSY && !SLOW.has(one.op));
    const engine = this.engine?.state ?? 'running';
    const life: Life = silent ? 'gone' : engine !== 'running' ? engine : late ? 'busy' : this.met ? 'live' : 'connecting';
    if (life === this.state) return;
    this.state = life;
    if (life === 'gone') {
      this.unmet(true);
      this.giveUp();
    }
    for (const callback of this.lives) callback(life);
  }

  private giveUp(): void {
    const error = 'the kernel does not answer; if it comes back it may still do this';
    for (const { answered } of this.asked.values()) answered({ ok: false, error });
    this.asked.clear();
  }
}
