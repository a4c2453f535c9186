/** What a picture shows, and the one way it reaches the flow. Everything under `editor/` knows only this. */

/** A wiring as Python sends it: the engine's snapshot, with the place of every card. */
export interface Graph {
  flow: string;
  revision: number;
  processors: Record<string, Processor>;
  sockets: Record<string, Socket>;
  plugs: Plug[];
  nodes: Node[];
  /** Absent in what older versions saved. */
  notes?: Note[];
  schedules?: Schedule[];
}

/** What calls a socket by itself; `text` says when. */
export interface Schedule {
  id: number;
  name: string;
  socket: string;
  every: number | null;
  cron: string | null;
  zone: string | null;
  missed: string;
  since: number;
  paused: boolean;
  text: string;
}

/** A text on the canvas. */
export interface Note {
  id: number;
  text: string;
  place: [number, number];
}

export interface Processor {
  cpus: number | null;
  paused: boolean;
  memory: number | null;
  affinity: number[] | null;
  /** Its share of the turns where calls wait for CPUs. */
  weight?: number;
  /** CPUs it may use on each of its nodes, null: all of them; absent while that is not known. */
  nodes?: Record<string, number | null>;
}

export interface Parameter {
  name: string;
  kind: string;
  required: boolean;
  default: string | null;
  annotation: string | null;
}

export interface Socket {
  processor: string;
  paused: boolean;
  /** What it is folded with; absent in what older versions saved. */
  group?: string | null;
  /** x, y, width, height in the picture; computed in Python where no person placed the card. */
  box: [number, number, number, number];
  /** A person placed it. */
  placed: boolean;
  threads: number;
  /** So many calls run at once in one worker. */
  concurrent?: number;
  retries: number;
  timeout: number | null;
  priority?: number;
  /** How often a call may start, such as "10/s". */
  rate?: string | null;
  /** Which results are used again: always, shared, or a time or size. */
  cache?: string | null;
  keep?: string | null;
  /** How much it holds before it is full, and what a full one does. */
  limit?: number | null;
  full?: string;
  fixed: Record<string, { type: string; text: string }>;
  /** Text of what its arguments join by, where that is a key. */
  key?: string | null;
  /** What the task says it returns, or null. */
  returns: string | null;
  doc: string;
  task: {
    version: number;
    source: string;
    file: string;
    signature: Parameter[];
    stale: string[];
    generator: boolean;
    parked: boolean;
    /** What it asks a person, of a task that no worker runs. */
    ask?: Ask | null;
  };
}

export interface Ask {
  prompt: string;
  /** The answers there are; null: any text. */
  choices: (string | number | boolean)[] | null;
}

export interface Plug {
  id: number;
  source: string;
  target: string;
  argument: string;
  on: 'result' | 'error';
  map: boolean;
  gather: boolean | 'done';
  when: string | null;
  /** How many calls in a row may lead to one of its cycle. */
  hops?: number | null;
  /** The part of the result that it carries; null: all of it. */
  pick: string | null;
}

export interface Node {
  name: string;
  /** 0 while that is not known. */
  cpus: number;
  /** starting, up, away or down. */
  state: string;
  /** The graph names neither what is in use nor since when, for these change all the time. */
  used?: number;
  /** CPUs of its machine that other flows use. */
  others?: number;
  since?: number;
  round_trip?: number | null;
  memory?: { used: number; total: number } | null;
  host?: string | null;
  python?: string | null;
  /** Of ec_jupyter there. */
  version?: string | null;
  /** Why it is away or down. */
  error?: string | null;
  /** What its host does while it starts. */
  note?: string | null;
  /** It was taken away, and ends what it has. */
  leaving?: boolean;
  /** In the graph alone. */
  requirements?: string[];
}

export interface SocketCounts {
  waiting: number;
  queued: number;
  /** Those that wait for their time. */
  delayed?: number;
  /** Those that wait for a person to answer. */
  asked?: number;
  running: number;
  done: number;
  failed: number;
  cancelled: number;
  skipped: number;
  /** Values that wait at each argument for the others of their call. */
  arrived: Record<string, number>;
  /** Lists that each argument waits for of which nothing has come: the calls of all their elements have failed. */
  lists?: Record<string, number>;
  /** What is set aside so that nothing of it starts, and why. */
  aside?: string | null;
  /** How far its running calls are, together, where their tasks say so. */
  progress?: Progress | null;
}

/** What tasks say with `ec.progress`: of one call in a request's row, of all that run in a socket's counts. */
export interface Progress {
  done: number;
  /** null: nobody knows it. */
  total: number | null;
  text: string;
  /** In a socket's counts: how many of its calls say it. */
  calls?: number;
}

/** Absolute numbers; a message with `full` false names only what changed since the last. */
export interface Metrics {
  seq: number;
  full: boolean;
  /** Seconds since the epoch, of the machine that counted. */
  time: number;
  sockets: Record<string, SocketCounts>;
  processors: Record<
    string,
    /** `workers`: how many have what runs, for calls may overlap; `nodes`: what runs on each, where it has others. */
    { cpus: number | null; paused: boolean; running: number; queued: number; workers?: number; nodes?: Record<string, number> }
  >;
  /** Values on the way through each plug: waiting at its argument or being split. */
  plugs: Record<string, number>;
  nodes: Node[];
  idle: boolean;
}

/** A value as a worker shows it, checked on its way here. Nothing of it may run in the page. */
export interface Shown {
  text: string;
  type: string;
  /** Bytes. */
  size: number;
  /** Whose result it is. */
  request?: number;
  /** Of a generator's call: which of its elements this is, counted from 0, and how many there are. */
  element?: number;
  elements?: number;
  look?: Look;
}

/** At most one of them, and `note`: why there is nothing better than the text. */
export interface Look {
  plain?: string;
  table?: { columns: string[]; index: string[]; rows: string[][]; shape: number[] };
  array?: { shape: number[]; dtype: string; points: (number | null)[]; low: number | null; high: number | null };
  /** By MIME type: images as base64, all else as text. */
  data?: Record<string, string>;
  note?: string;
}

export interface Answer {
  ok: boolean;
  /** One line for the person, where `ok` is false. */
  error?: string;
  [field: string]: unknown;
}

/** How the flow's engine is; its numbers come while it is running. */
export interface Engine {
  state: 'running' | 'starting' | 'stopped' | 'failed' | 'killed' | 'connecting';
  /** Why, in one line. */
  text: string;
}

/**
 * connecting: no graph yet; live; busy: the kernel hears only after its cell; gone: who gave the numbers says nothing
 * any more. Else he is there and it is the engine: it died and is being started again, was stopped, cannot be started,
 * or died and nobody was there to start the next.
 */
export type Life = 'connecting' | 'live' | 'busy' | 'gone' | 'static' | 'starting' | 'stopped' | 'failed' | 'killed';

/** What is loaded when it is first opened. */
export interface Parts {
  timeline: typeof import('../timeline/chart');
  sources: typeof import('./sources');
}

export interface Host {
  graph(): Graph | null;
  onGraph(callback: (graph: Graph) => void): () => void;
  onMetrics(callback: (metrics: Metrics) => void): () => void;
  life(): Life;
  onLife(callback: (life: Life) => void): () => void;
  /** Never rejects: what went wrong is an answer. */
  command(op: string, args?: Record<string, unknown>): Promise<Answer>;
  /** Whether anybody looks; nothing is sent while nobody does. */
  look(visible: boolean): void;
  /** Who gives the numbers, in the words for when he does not; a kernel, if nothing else is said. */
  readonly behind?: string;
  /** Bring a picture whose kernel is gone back to life; absent where that cannot be done from here. */
  revive?(): void;
  /** What is said of the engine, once anything is. */
  readonly engine?: Engine | null;
  /** A part of the editor that is loaded when it is first opened; absent where nobody could give it. */
  part?<Name extends keyof Parts>(name: Name): Promise<Parts[Name]>;
  /** Start an engine that was stopped, or try again. */
  start?(): void;
}
