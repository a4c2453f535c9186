/** The status bar's word on flows that run; nothing while none does. */

import { Widget } from '@lumino/widgets';
import { element } from './element';
import type { Flows } from './service';
import { summary } from './words';

export class FlowsStatus extends Widget {
  private _button = element('button', { type: 'button', class: 'ec-status' });

  constructor(
    private _flows: Flows,
    open: () => void
  ) {
    super();
    this._button.addEventListener('click', open);
    this.node.append(this._button);
    this._flows.changed.connect(this._show, this);
    this._show();
  }

  get active(): boolean {
    return this._button.textContent !== '';
  }

  dispose(): void {
    this._flows.changed.disconnect(this._show, this);
    super.dispose();
  }

  private _show(): void {
    const text = summary(this._flows.rows);
    if (this._button.textContent === text) return;
    this._button.textContent = text;
    this._button.title = text && `${text}: show the flows`;
  }
}
