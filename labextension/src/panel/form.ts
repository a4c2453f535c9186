/** The form that gives a flow a node; open only while somebody fills it in. */

import type { Answer } from '../editor/types';
import { nodeArgs } from '../editor/words';
import { button, element } from './element';

const FIELDS: [name: string, label: string, attributes: Record<string, string>][] = [
  ['name', 'Name', { required: '' }],
  ['host', 'Host', { placeholder: 'user@host, as ssh takes it' }],
  ['cpus', 'CPUs', { type: 'number', min: '1', placeholder: 'all it has' }],
  ['requirements', 'Requirements', { placeholder: 'numpy>=2 pandas' }]
];

export class NodeForm {
  readonly node: HTMLFormElement;
  readonly opener: HTMLButtonElement;
  private _error = element('p', { class: 'ec-panel-error', role: 'alert' });
  private _inputs = new Map<string, HTMLInputElement>();
  private _sending = false;

  constructor(
    label: string,
    private _send: (args: Record<string, unknown>) => Promise<Answer>
  ) {
    this.opener = button('Add node…', label, () => this._show(!!this.node.hidden));
    this.opener.setAttribute('aria-expanded', 'false');
    const labels = FIELDS.map(([name, text, attributes]) => {
      const input = element('input', { class: 'ec-panel-input', autocomplete: 'off', ...attributes });
      this._inputs.set(name, input);
      return element('label', {}, text, input);
    });
    const add = element('button', { type: 'submit', class: 'ec-panel-button' }, 'Add');
    const cancel = element('button', { type: 'button', class: 'ec-panel-button' }, 'Cancel');
    cancel.addEventListener('click', () => this._show(false));
    const buttons = element('span', { class: 'ec-panel-buttons' }, add, cancel);
    this.node = element('form', { class: 'ec-panel-form', 'aria-label': label }, ...labels, this._error, buttons);
    this.node.hidden = true;
    this.node.addEventListener('submit', event => {
      event.preventDefault();
      void this._submit();
    });
    this.node.addEventListener('keydown', event => {
      if (event.key === 'Escape') this._show(false);
    });
  }

  /** A flow that is stopped has nobody who could reach a node. */
  set possible(value: boolean) {
    this.opener.hidden = !value;
    if (!value) this.node.hidden = true;
  }

  private _show(open: boolean): void {
    // before the field that has the focus is hidden: the page would take it, and Lab give it to whatever is in front
    if (!open) this.opener.focus();
    this.node.hidden = !open;
    this.opener.setAttribute('aria-expanded', String(open));
    this._error.textContent = '';
    if (open) this._inputs.get('name')!.focus();
  }

  private async _submit(): Promise<void> {
    if (this._sending) return;
    this._sending = true;
    this._error.textContent = '';
    const texts = Object.fromEntries([...this._inputs].map(([name, input]) => [name, input.value]));
    const answer = await this._send(nodeArgs(texts));
    this._sending = false;
    if (!answer.ok) {
      this._error.textContent = answer.error ?? 'it was refused';
      return;
    }
    this.node.reset();
    this._show(false);
  }
}
