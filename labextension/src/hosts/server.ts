/** A flow by way of the Jupyter server: wiring and numbers over a websocket, commands by request; no kernel. */

import type { Answer, Engine, Graph, Host, Life, Metrics, Parts } from '../editor/types';
import type { Flows } from '../panel/service';

/** Milliseconds without a number after which the numbers are old. */
const SILENCE = 3_000;
const SOONEST = 500;
const LATEST = 10_000;

export class ServerHost implements Host {
  readonly behind = 'engine';
  engine: Engine | null = null;
  private _graph: Graph | null = null;
  private _life: Life = 'connecting';
  private _onGraph = new Set<(graph: Graph) => void>();
  private _onMetrics = new Set<(metrics: Metrics) => void>();
  private _onLife = new Set<(life: Life) => void>();
  private _socket: WebSocket | null = null;
  private _wait = SOONEST;
  private _silence = 0;
  private _again = 0;
  private _visible = true;
  private _closed = false;

  constructor(
    private _flows: Flows,
    private _key: string
  ) {
    this._connect();
    this._listen();
  }

  graph(): Graph | null {
    return this._graph;
  }

  onGraph(callback: (graph: Graph) => void): () => void {
    return added(this._onGraph, callback);
  }

  onMetrics(callback: (metrics: Metrics) => void): () => void {
    return added(this._onMetrics, callback);
  }

  life(): Life {
    return this._life;
  }

  onLife(callback: (life: Life) => void): () => void {
    return added(this._onLife, callback);
  }

  command(op: string, args: Record<string, unknown> = {}): Promise<Answer> {
    return this._flows.ask(['flows', this._key, 'commands'], { op, args });
  }

  part<Name extends keyof Parts>(name: Name): Promise<Parts[Name]> {
    const parts = { timeline: () => import('../timeline/chart'), sources: () => import('../editor/sources') };
    return parts[name]() as Promise<Parts[Name]>;
  }

  look(visible: boolean): void {
    this._visible = visible;
    this._say({ k: 'look', visible });
    this._listen();
  }

  start(): void {
    this.revive();
  }

  /** Start the engine again; the open websocket finds it by itself. */
  revive(): void {
    this._become('connecting');
    void this._flows.start(this._key).then(answer => {
      if (!answer.ok) this._become('gone');
      else if (this._socket?.readyState !== WebSocket.OPEN) this._reconnect();
      this._listen();
    });
  }

  close(): void {
    this._closed = true;
    window.clearTimeout(this._silence);
    window.clearTimeout(this._again);
    this._socket?.close();
  }

  private _connect(): void {
    const socket = new this._flows.settings.WebSocket(this._flows.liveUrl(this._key));
    this._socket = socket;
    socket.onopen = () => {
      this._wait = SOONEST;
      if (!this._visible) this._say({ k: 'look', visible: false });
    };
    socket.onmessage = event => this._take(JSON.parse(event.data as string));
    socket.onclose = () => {
      if (this._closed || this._socket !== socket) return;
      this._again = window.setTimeout(() => this._connect(), this._wait);
      this._wait = Math.min(2 * this._wait, LATEST);
    };
  }

  private _reconnect(): void {
    window.clearTimeout(this._again);
    this._socket?.close();
    this._wait = SOONEST;
    this._connect();
  }

  private _take(message: { k: string; graph?: Graph } & Partial<Metrics> & Partial<Engine>): void {
    if (message.k === 'graph' && message.graph) {
      this._graph = message.graph;
      this._onGraph.forEach(callback => callback(message.graph as Graph));
    } else if (message.k === 'engine') {
      this.engine = message as Engine;
      this._listen();
      const { state } = this.engine;
      if (state !== 'running') this._become(state);
    } else if (message.k === 'metrics') {
      this._listen();
      this._become('live');
      this._onMetrics.forEach(callback => callback(message as Metrics));
    }
  }

  /** Expect numbers from now on; nothing is sent to a page that nobody sees. */
  private _listen(): void {
    window.clearTimeout(this._silence);
    if (this._visible && !this._closed) this._silence = window.setTimeout(() => this._become('gone'), SILENCE);
  }

  private _become(life: Life): void {
    if (this._life === life) return;
    this._life = life;
    this._onLife.forEach(callback => callback(life));
  }

  private _say(message: unknown): void {
    if (this._socket?.readyState === WebSocket.OPEN) this._socket.send(JSON.stringify(message));
  }
}

function added<T>(callbacks: Set<T>, callback: T): () => void {
  callbacks.add(callback);
  return () => void callbacks.delete(callback);
}
