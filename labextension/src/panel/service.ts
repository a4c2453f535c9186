/** Flows as the server lists them; the one place that knows its addresses. */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';
import type { Answer, Node } from '../editor/types';

export interface FlowRow {
  key: string;
  name: string;
  path: string;
  running: boolean;
  /** Its engine did not end by itself. */
  killed: boolean;
  counts: Record<string, number> | null;
  /** Values that wait at joins. */
  arrived: number;
  sockets: number;
  nodes: Node[];
  error: string | null;
  /** Bytes of its files, by kind and in total, as of a while ago; absent or null where that is not known. */
  size?: Record<string, number> | null;
  /** Nothing is queued or running that may start. */
  idle?: boolean;
  /** Of what people are to be told, by how. */
  notify?: Record<string, string[]>;
}

/** Seconds between two looks: while the list is seen, and while only its sum is. */
const NEAR = 5_000;
const FAR = 30_000;
/** While a node is being reached and somebody waits for it. */
const SOON = 1_000;

export class Flows {
  readonly settings = ServerConnection.makeSettings();
  private _rows: FlowRow[] = [];
  private _complete = true;
  private _trouble = '';
  private _known = false;
  private _changed = new Signal<this, void>(this);
  private _timer = 0;
  private _near = false;
  private _asking: Promise<void> | null = null;
  private _disposed = false;

  constructor() {
    document.addEventListener('visibilitychange', this._onVisibility);
  }

  get rows(): readonly FlowRow[] {
    return this._rows;
  }

  /** Whether the server has looked everywhere. */
  get complete(): boolean {
    return this._complete;
  }

  /** Why there is no list, in one line. */
  get trouble(): string {
    return this._trouble;
  }

  /** Whether the server has answered yet. */
  get known(): boolean {
    return this._known;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  row(key: string): FlowRow | undefined {
    return this._rows.find(row => row.key === key);
  }

  /** Look often, as somebody reads the list, or now and then. */
  set near(value: boolean) {
    this._near = value;
    if (value) void this.refresh();
    else this._plan();
  }

  /** Look now; several who ask share one look. */
  refresh(): Promise<void> {
    this._asking ??= this._look().finally(() => {
      this._asking = null;
      this._plan();
    });
    return this._asking;
  }

  start(key: string): Promise<Answer> {
    return this._life(key, 'start');
  }

  stop(key: string): Promise<Answer> {
    return this._life(key, 'stop');
  }

  /** Give a flow a node. It is not waited for: the next looks show how it comes. */
  async addNode(key: string, args: Record<string, unknown>): Promise<Answer> {
    const answer = await this.ask(['flows', key, 'commands'], { op: 'node', args });
    if (answer.ok) await this.refresh();
    return answer;
  }

  /** Rename, duplicate, clear or delete a flow. */
  async manage(key: string, verb: string, args: Record<string, unknown>): Promise<Answer> {
    const answer = await this.ask(['flows', key, verb], args);
    await this.refresh();
    return answer;
  }

  /** Ask the server; what went wrong is an answer. */
  async ask(path: string[], body?: unknown): Promise<Answer> {
    const url = URLExt.join(this.settings.baseUrl, 'ec', ...path.map(encodeURIComponent));
    const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
    try {
      const response = await ServerConnection.makeRequest(url, init, this.settings);
      const said = await response.json().catch(() => ({}));
      if (response.ok) return { ...said, ok: true };
      return { ...said, ok: false, error: said.error ?? said.message ?? response.statusText, status: response.status };
    } catch (error) {
      return { ok: false, error: `the Jupyter server does not answer (${(error as Error).message})` };
    }
  }

  /** Address of a flow's websocket. */
  liveUrl(key: string): string {
    const { wsUrl, appendToken, token } = this.settings;
    const url = URLExt.join(wsUrl, 'ec/flows', encodeURIComponent(key), 'live');
    return appendToken && token ? `${url}?token=${encodeURIComponent(token)}` : url;
  }

  dispose(): void {
    this._disposed = true;
    window.clearTimeout(this._timer);
    document.removeEventListener('visibilitychange', this._onVisibility);
    Signal.clearData(this);
  }

  private async _life(key: string, verb: string): Promise<Answer> {
    const answer = await this.ask(['flows', key, verb], {});
    await this.refresh();
    return answer;
  }

  private async _look(): Promise<void> {
    const answer = await this.ask(['flows']);
    if (this._disposed) return;
    this._known = true;
    this._trouble = answer.ok ? '' : (answer.error ?? '');
    if (answer.ok) {
      this._rows = answer.flows as FlowRow[];
      this._complete = answer.complete as boolean;
    }
    this._changed.emit();
  }

  private _plan(): void {
    window.clearTimeout(this._timer);
    const told = this._rows.some(row => row.running && Object.keys(row.notify ?? {}).length > 0);
    // nobody sees a hidden page: the next look comes when it is shown, but for what people are to be told then too
    if (this._disposed || (document.hidden && !told)) return;
    const starting = this._rows.some(row => row.nodes.some(node => node.state === 'starting'));
    this._timer = window.setTimeout(() => void this.refresh(), !this._near && !told ? FAR : starting ? SOON : NEAR);
  }

  private _onVisibility = (): void => {
    if (document.hidden) this._plan();
    else void this.refresh();
  };
}
