/** What the picture shows, outside React: live numbers would otherwise draw everything again ten times a second. */

import { useCallback, useSyncExternalStore } from 'react';
import type { Wanted } from './adding';
import { Looks, type Failure } from './looks';
import type { Level } from './panels/pages';
import type { Kind } from './panels/course';
import { recall } from './remembered';
import { Pace } from './motion';
import { Past } from './past';
import { Story } from './story';
import type { Answer, Graph, Host, Life, Metrics, Node, Parts, Shown, SocketCounts } from './types';
import { keyOf, shared, type Ends, type Place } from './wiring';

export interface Choice {
  text: string;
  /** Said after the text, and found by the filter too. */
  hint?: string;
  run: () => void;
}

export interface Chooser {
  title: string;
  choices: Choice[];
  /** Where it opens, in pixels of the window; absent: in the middle, at the top. */
  at?: { x: number; y: number };
}

export type Panel =
  | { kind: 'plug'; key: string }
  | { kind: 'socket'; socket: string }
  | { kind: 'processor'; processor: string }
  | { kind: 'group'; group: string }
  | { kind: 'renameGroup'; group: string }
  | { kind: 'grouping'; sockets: string[] }
  | { kind: 'waiting'; socket: string; argument: string | null }
  | { kind: 'requests'; socket: string; state: string | null }
  | { kind: 'request'; id: number; socket: string; state: string | null }
  | { kind: 'values'; socket: string; id: number | null; run: number | null }
  | { kind: 'run'; socket: string }
  | { kind: 'rename'; socket: string }
  | { kind: 'fix'; socket: string; argument: string }
  | { kind: 'node'; node: string }
  | { kind: 'source'; socket: string }
  | { kind: 'newSocket'; wanted: Wanted }
  | { kind: 'log'; socket: string | null; run: number | null; request: number | null; level: Level; text: string }
  | { kind: 'metrics'; of: Kind | null; name: string | null }
  | { kind: 'way'; run: number }
  | { kind: 'timeline'; run: number | null }
  | { kind: 'runs' | 'add' | 'addNode' | 'code' | 'history' | 'help' };

export interface Refusal {
  text: string;
  at: { x: number; y: number };
  remedy?: Choice;
}

/** A plug that was asked for; drawn dashed until the graph holds it. `revision` is the answer's, once there is one. */
export interface Pending extends Ends {
  revision: number | null;
}

/** What is drawn of a card: all; with text that grows against the zoom; its name and a mark; its colour alone. */
export type Detail = 'near' | 'middle' | 'far' | 'tiny';

/** A card is but a name, or less. */
export const FAR_AWAY: ReadonlySet<Detail> = new Set(['far', 'tiny']);
export const isFar = (view: View): boolean => FAR_AWAY.has(view.detail);

export interface View {
  panel: Panel | null;
  chooser: Chooser | null;
  refusal: Refusal | null;
  /** The socket whose output waits for an argument to be clicked. */
  plugging: string | null;
  pending: Pending[];
  /** Frames of which one card is drawn. */
  folded: ReadonlySet<string>;
  selected: { sockets: string[]; plugs: string[] };
  outline: boolean;
  rates: boolean;
  /** The map, where the picture does not fit. */
  map: boolean;
  detail: Detail;
  /** The processor that the cards in the hand would move to. */
  drop: string | null;
  /** The note that is being written. */
  writing: number | null;
  spoken: string;
}

export interface Rate {
  per_second: number | null;
  p50: number | null;
  p95: number | null;
}

const NOTHING: SocketCounts = {
  waiting: 0,
  queued: 0,
  running: 0,
  done: 0,
  failed: 0,
  cancelled: 0,
  skipped: 0,
  arrived: {}
};

const FINAL: Record<string, string> = {
  discard: 'a discard',
  supply: 'a supplied value',
  respond: 'an answer',
  cancel: 'a cancelled call'
};

export class Store {
  graph: Graph | null = null;
  life: Life;
  view: View = {
    panel: null,
    chooser: null,
    refusal: null,
    plugging: null,
    pending: [],
    folded: new Set(),
    selected: { sockets: [], plugs: [] },
    outline: false,
    rates: recall('rates') === 'shown',
    map: true,
    detail: 'near',
    drop: null,
    writing: null,
    spoken: ''
  };
  nodes: Node[] = [];
  /** Seconds since the epoch of the newest numbers; 0 before any. */
  time = 0;
  /** The last two copied kinds are told apart in `copying.ts`. */
  clipboard: unknown = null;
  /** The editor's own box, once it is drawn; what floats is placed in it. */
  box: HTMLElement | null = null;
  /** Set by the canvas: bring a place into sight and focus it. */
  goTo: (place: Place) => void = () => undefined;
  fitAll: () => void = () => undefined;
  /** Nobody has moved or zoomed the picture yet: it may show all of itself. */
  untouched = true;
  /** Something is dragged, and Escape has not ended that. */
  inHand = false;
  /** Cards in the hand. */
  held: string[] = [];
  /** What was done last, if undo cannot take it back, and the revision it was done in. */
  final: { what: string; revision: number } | null = null;
  /** The last value of each socket, as far as it is seen. */
  readonly looks = new Looks(this);
  /** The run, if one, whose way is lit up. */
  readonly story = new Story(this);
  readonly past = new Past(this);
  readonly host: Host;

  private parts = new Map<keyof Parts, Promise<Parts[keyof Parts]>>();
  private counts = new Map<string, SocketCounts>();
  private processors = new Map<string, Metrics['processors'][string]>();
  private depths = new Map<string, number>();
  private rateOf = new Map<string, Rate>();
  private pulses = new Map<string, number[]>();
  private arrived = new Map<string, number>();
  private listeners = new Map<string, Set<() => void>>();
  private stale = new Set<string>();
  private frame = 0;
  private dragging = false;
  private pace = new Pace();
  private endings: (() => void)[];

  constructor(host: Host) {
    this.host = this.past.guard(host);
    this.life = host.life();
    this.setGraph(host.graph());
    this.endings = [
      host.onGraph(graph => this.setGraph(graph)),
      host.onMetrics(metrics => this.count(metrics)),
      host.onLife(life => this.setLife(life))
    ];
  }

  close(): void {
    this.looks.close();
    this.story.close();
    cancelAnimationFrame(this.frame);
    for (const end of this.endings) end();
  }

  subscribe(slice: string, callback: () => void): () => void {
    const set = this.listeners.get(slice) ?? new Set();
    this.listeners.set(slice, set.add(callback));
    return () => void set.delete(callback);
  }

  countsOf = (socket: string): SocketCounts => this.counts.get(socket) ?? NOTHING;
  processorOf = (name: string) => this.processors.get(name);
  depthOf = (plug: number): number => this.depths.get(String(plug)) ?? 0;
  /** How often results (`on` error: failures) of a socket have come since the picture was opened. */
  arrivals = (socket: string, on: string): number => this.arrived.get(`${on === 'error' ? 'f' : 'd'}:${socket}`) ?? 0;
  rate = (socket: string): Rate | undefined => this.rateOf.get(socket);

  pulse = (socket: string): number[] | undefined => this.pulses.get(socket);

  set(change: Partial<View>): void {
    this.view = { ...this.view, ...change };
    this.tell('view');
  }

  /** Says one line to whoever listens or looks at the bottom of the editor. */
  say(spoken: string): void {
    this.set({ spoken });
  }

  /** Close a panel, where no other one was opened since. */
  shut(panel: Panel | null): void {
    if (this.view.panel === panel) this.set({ panel: null });
  }

  /** The processor that these cards are held over. */
  setDrop(drop: string | null, cards: string[] = []): void {
    this.held = cards;
    if (drop !== this.view.drop) this.set({ drop });
  }

  /** What is loaded when it is first opened, once; `null` where nobody could give it. */
  part<Name extends keyof Parts>(name: Name): Promise<Parts[Name]> | null {
    const known = this.parts.get(name) as Promise<Parts[Name]> | undefined;
    const loading = known ?? this.host.part?.(name);
    if (!loading) return null;
    this.parts.set(name, loading);
    loading.catch(() => this.parts.delete(name));
    return loading;
  }

  /** What a command brought; of what cannot be taken back it is noted that it was the last that was done. */
  async command(op: string, args: Record<string, unknown> = {}): Promise<Answer> {
    const answer = await this.host.command(op, args);
    if (answer.ok && FINAL[op]) this.final = { what: FINAL[op], revision: this.graph?.revision ?? 0 };
    return answer;
  }

  /** The same; an error is said, and `null` stands for it. */
  async ask(op: string, args: Record<string, unknown> = {}): Promise<Answer | null> {
    const answer = await this.command(op, args);
    if (answer.ok) return answer;
    this.say(answer.error ?? `${op} went wrong`);
    return null;
  }

  /** Somebody drew a slice's value anew. */
  changed(slice: string): void {
    this.tell(slice);
  }

  setRates(sockets: Record<string, Rate>): void {
    this.rateOf = new Map(Object.entries(sockets));
    this.tell('rates');
  }

  /** Calls of the last hour by socket, for small lines. */
  setPulses(rows: { name: string; pulse?: number[] }[]): void {
    this.pulses = new Map(rows.map(({ name, pulse }) => [name, pulse ?? []]));
    this.tell('rates');
  }

  /** What a time of the past was like, or what is so again. */
  draw(graph: Graph | null, metrics: Metrics | null): void {
    this.graph = graph && shared(this.graph, graph);
    this.tell('graph');
    if (!metrics) return;
    this.took(metrics);
    for (const callbacks of [...this.listeners.values()]) for (const callback of [...callbacks]) callback();
  }

  /** All numbers as they are shown now. */
  numbers(): Metrics {
    const { time, nodes } = this;
    const [sockets, processors, plugs] = [this.counts, this.processors, this.depths].map(of =>
      Object.fromEntries(of as Map<string, never>)
    );
    return { seq: 0, full: true, time, sockets: sockets!, processors: processors!, plugs: plugs!, nodes, idle: false };
  }

  /** The past, and what nobody answers for, is looked at and not changed. */
  relive(): void {
    this.life = this.past.on ? 'static' : this.host.life();
    this.tell('life');
  }

  private setGraph(graph: Graph | null): void {
    if (this.past.keepGraph(graph)) return;
    const known = this.graph?.sockets;
    if (graph && !known) this.set({ folded: new Set(recall(`folded:${graph.flow}`)?.split('\n')) });
    this.graph = graph && shared(this.graph, graph);
    if (graph) {
      // a card that a cell made may lie out of sight
      const fresh = known ? Object.keys(graph.sockets).filter(name => !known[name]) : [];
      if (fresh.length) this.say(`new: ${fresh.length > 6 ? `${fresh.length} sockets` : fresh.join(', ')}`);
      const there = new Set(graph.plugs.map(keyOf));
      const pending = this.view.pending.filter(
        one => !there.has(keyOf(one)) && (one.revision === null || one.revision > graph.revision)
      );
      if (pending.length !== this.view.pending.length) this.set({ pending });
      // who came and went is known before the next numbers
      const old = this.nodes;
      this.nodes = graph.nodes.map(node => ({ ...old.find(one => one.name === node.name && one.state === node.state), ...node }));
      this.tell('nodes');
    }
    this.tell('graph');
  }

  private setLife(life: Life): void {
    if (this.past.on) return;
    this.life = life;
    this.tell('life');
  }

  private count(metrics: Metrics): void {
    if (this.past.keepMetrics(metrics)) return;
    this.took(metrics);
    this.story.due();
  }

  private took(metrics: Metrics): void {
    this.time = metrics.time;
    const known = new Map(this.counts);
    if (metrics.full) {
      for (const key of [...this.counts.keys()].map(name => `s:${name}`)) this.stale.add(key);
      this.counts.clear();
      this.stale.add('counts');
      this.depths.clear();
    }
    for (const [name, counts] of Object.entries(metrics.sockets)) {
      const before = known.get(name);
      this.counts.set(name, counts);
      this.stale.add(`s:${name}`);
      this.stale.add('counts');
      if (before && counts.done > before.done) this.came(`d:${name}`);
      if (before && counts.failed > before.failed) this.came(`f:${name}`);
    }
    this.looks.due();
    for (const [name, numbers] of Object.entries(metrics.processors)) {
      this.processors.set(name, numbers);
      this.stale.add(`p:${name}`);
    }
    for (const [plug, depth] of Object.entries(metrics.plugs)) this.depths.set(plug, depth);
    if (metrics.full || Object.keys(metrics.plugs).length) this.stale.add('depths');
    const nodes = new Map(this.graph?.nodes.map(node => [node.name, node]));
    this.nodes = metrics.nodes.map(node => ({ ...nodes.get(node.name), ...node }));
    this.stale.add('nodes');
    if (!this.frame) this.frame = requestAnimationFrame(() => this.flush());
  }

  /** Results of a socket have come: once a message, however many they are. */
  private came(what: string): void {
    this.arrived.set(what, (this.arrived.get(what) ?? 0) + 1);
    this.stale.add(what);
  }

  /** Something is in a person's hand, or let go: meanwhile all else lies still. */
  hold(held: boolean): void {
    this.dragging = held;
    this.box?.toggleAttribute('data-held', held);
  }

  /** A card, or the end of a plug, is taken into the hand. */
  take(): void {
    this.hold(true);
    this.inHand = true;
  }

  /** It is let go: whether that counts, for nobody gave it up before. */
  letGo(): boolean {
    const meant = this.inHand;
    this.hold(false);
    this.inHand = false;
    return meant;
  }

  /** However many messages came since the last frame, each card draws once. */
  private flush(): void {
    const now = performance.now();
    if (!this.pace.due(now, this.dragging)) return void (this.frame = requestAnimationFrame(() => this.flush()));
    this.frame = 0;
    const slices = [...this.stale];
    this.stale.clear();
    for (const slice of slices) this.tell(slice);
    requestAnimationFrame(() => this.pace.drew(now, performance.now()));
  }

  private tell(slice: string): void {
    for (const callback of [...(this.listeners.get(slice) ?? [])]) callback();
  }
}

function useSlice<T>(store: Store, slice: string, read: () => T): T {
  const subscribe = useCallback((callback: () => void) => store.subscribe(slice, callback), [store, slice]);
  return useSyncExternalStore(subscribe, read);
}

export const useGraph = <T>(store: Store, read: (graph: Graph | null) => T): T =>
  useSlice(store, 'graph', () => read(store.graph));
export const useView = <T>(store: Store, read: (view: View) => T): T => useSlice(store, 'view', () => read(store.view));
export const useLife = (store: Store): Life => useSlice(store, 'life', () => store.life);
export const useCounts = (store: Store, socket: string): SocketCounts =>
  useSlice(store, `s:${socket}`, () => store.countsOf(socket));
/** A text about them; who shows it draws again only when that changes. */
export const useCountsText = <Text extends string>(store: Store, socket: string, read: (counts: SocketCounts) => Text): Text =>
  useSlice(store, `s:${socket}`, () => read(store.countsOf(socket)));
/** A text about the numbers of several sockets; who shows it draws again only when that changes. */
export const useTextOfAll = <Text extends string>(
  store: Store,
  sockets: string[],
  read: (counts: SocketCounts[]) => Text
): Text => useSlice(store, 'counts', () => read(sockets.map(store.countsOf)));
export const useShown = (store: Store, socket: string): Shown | null =>
  useSlice(store, `v:${socket}`, () => store.looks.of(socket));
export const useFailure = (store: Store, socket: string): Failure | null =>
  useSlice(store, `v:${socket}`, () => store.looks.failureOf(socket));
/** A number that grows with what comes through a plug. */
export const useArrivals = (store: Store, socket: string, on: string): number =>
  useSlice(store, `${on === 'error' ? 'f' : 'd'}:${socket}`, () => store.arrivals(socket, on));
export const useProcessor = (store: Store, name: string) => useSlice(store, `p:${name}`, () => store.processorOf(name));
export const useDepth = (store: Store, plugs: number[]): number =>
  useSlice(store, 'depths', () => plugs.reduce((sum, plug) => sum + store.depthOf(plug), 0));
export const useRate = (store: Store, socket: string) => useSlice(store, 'rates', () => store.rate(socket));
export const usePulse = (store: Store, socket: string) => useSlice(store, 'rates', () => store.pulse(socket));
export const useNodes = (store: Store): Node[] => useSlice(store, 'nodes', () => store.nodes);
export const useNode = (store: Store, name: string): Node | undefined => useNodes(store).find(node => node.name === name);
/** A text about nodes; who shows it draws again only when that changes. */
export const useNodeText = (store: Store, read: (nodes: Node[]) => string): string =>
  useSlice(store, 'nodes', () => read(store.nodes));
export const useTime = (store: Store): number => useSlice(store, 'nodes', () => store.time);
