/** A flow in a tab of the main area, with no kernel: the same editor, fed by the server. */

import { MainAreaWidget } from '@jupyterlab/apputils';
import { Widget } from '@lumino/widgets';
import { ServerHost } from '../hosts/server';
import { capital } from '../editor/words';
import { button, element } from './element';
import { flowIcon } from './icon';
import type { Flows } from './service';

export class FlowTab extends Widget {
  private _unmount: (() => void) | null = null;
  private _host: ServerHost | null = null;

  constructor(
    readonly key: string,
    private _flows: Flows
  ) {
    super();
    this.addClass('ec-tab');
    this.id = `ec-jupyter-flow-${key}`;
    this.title.icon = flowIcon;
    this.title.closable = true;
    this.title.label = key.split(':').pop() ?? key;
    this.title.caption = `Flow ${key.split(':').join('/')}`;
    // the editor's keys are its own: Lab has other uses for Delete
    this.node.dataset.lmSuppressShortcuts = 'true';
    this.node.dataset['key'] = key;
    void this._begin();
  }

  dispose(): void {
    this._unmount?.();
    this._host?.close();
    super.dispose();
  }

  /** The editor, if the flow runs; else why not (it was stopped, its engine was killed), and what to do about it: to look starts nothing. */
  private async _begin(): Promise<void> {
    this._say('Looking at the flow…');
    await this._flows.refresh();
    if (this.isDisposed) return;
    const row = this._flows.row(this.key);
    if (row && !row.running && !row.killed) {
      this._say(`Flow ${row.name} is stopped. Start it to go on with what is on disk.`, 'Start', () => void this._start());
      return;
    }
    const answer = await this._flows.ask(['flows', this.key]);
    if (this.isDisposed) return;
    if (answer.ok) await this._mount();
    else if (answer.status === 404) this._say(answer.error ?? 'there is no such flow');
    else this._say(capital(answer.error ?? ''), 'Start', () => void this._start());
  }

  private async _start(): Promise<void> {
    this._say('Starting…');
    const answer = await this._flows.start(this.key);
    if (this.isDisposed) return;
    if (answer.ok) await this._begin();
    else this._say(answer.error ?? '', 'Try again', () => void this._start());
  }

  private async _mount(): Promise<void> {
    const { mount } = await import('../editor/mount');
    if (this.isDisposed) return;
    this.node.replaceChildren();
    this._host = new ServerHost(this._flows, this.key);
    this._unmount = mount(this.node, this._host);
  }

  private _say(text: string, action?: string, onClick?: () => void): void {
    const said = element('p', { role: 'status' }, text);
    const box = element('div', { class: 'ec-tab-note' }, said);
    if (action && onClick) box.append(button(action, `${action} flow ${this.title.label}`, onClick));
    this.node.replaceChildren(box);
  }
}

export function flowTab(key: string, flows: Flows): MainAreaWidget<FlowTab> {
  const tab = new MainAreaWidget({ content: new FlowTab(key, flows) });
  // the editor has its own
  tab.toolbar.hide();
  return tab;
}
