/** The side panel: the flows on this machine, whether or not a kernel runs. */

import { Widget } from '@lumino/widgets';
import { element } from './element';
import { flowIcon } from './icon';
import type { Actions } from './row';
import { RowView } from './row';
import type { FlowRow, Flows } from './service';
import { matches, state } from './words';

const NONE = 'No flows here yet. In a notebook, %load_ext ec_jupyter and then %%ec_socket above a function make the first.';

export class FlowsPanel extends Widget {
  private _filter = element('input', {
    type: 'search',
    class: 'ec-panel-filter',
    placeholder: 'Filter flows',
    'aria-label': 'Filter flows'
  });
  private _list = element('ul', { class: 'ec-panel-list', 'aria-label': 'Flows' });
  private _note = element('p', { class: 'ec-panel-note' });
  private _said = element('div', { class: 'ec-panel-said', role: 'status', 'aria-live': 'polite' });
  private _views = new Map<string, RowView>();
  private _states = new Map<string, string>();

  constructor(
    private _flows: Flows,
    private _open: (key: string) => void,
    private _more: (key: string, x: number, y: number) => void
  ) {
    super();
    this.id = 'ec-jupyter-flows';
    this.addClass('ec-panel');
    this.title.icon = flowIcon;
    this.title.caption = 'Flows';
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'Flows');
    const again = element(
      'button',
      { type: 'button', class: 'ec-panel-button', 'aria-label': 'Look for flows again' },
      'Refresh'
    );
    again.addEventListener('click', () => void this._flows.refresh());
    const top = element('div', { class: 'ec-panel-top' }, element('h2', { class: 'ec-panel-title' }, 'Flows'), again);
    this.node.append(top, this._filter, this._note, this._list, this._said);
    this._filter.addEventListener('input', () => this._show());
    this._flows.changed.connect(this._show, this);
    this._show();
  }

  /** Say something to whoever listens. */
  say(text: string): void {
    this._said.textContent = text;
  }

  dispose(): void {
    this._flows.changed.disconnect(this._show, this);
    super.dispose();
  }

  protected onAfterShow(): void {
    this._flows.near = true;
  }

  protected onAfterHide(): void {
    this._flows.near = false;
  }

  private _show(): void {
    const rows = this._flows.rows.filter(row => matches(row, this._filter.value));
    const wanted = new Set(rows.map(row => row.key));
    for (const [key, view] of this._views) {
      if (wanted.has(key)) continue;
      view.node.remove();
      this._views.delete(key);
    }
    const focused = this._list.contains(document.activeElement) ? (document.activeElement as HTMLElement) : null;
    rows.forEach((row, at) => {
      const view = this._view(row);
      if (this._list.children[at] !== view.node) this._list.insertBefore(view.node, this._list.children[at] ?? null);
    });
    // whoever is moved loses the focus
    if (focused && document.activeElement !== focused) focused.focus();
    this._showNote(rows.length);
    this._tell();
  }

  private _view(row: FlowRow): RowView {
    const known = this._views.get(row.key);
    if (known) {
      known.show(row);
      return known;
    }
    const view = new RowView(row, this._actions);
    this._views.set(row.key, view);
    return view;
  }

  private _showNote(shown: number): void {
    const { trouble, known, complete, rows } = this._flows;
    let text = '';
    if (trouble) text = trouble;
    else if (!known) text = 'Looking for flows…';
    else if (!rows.length) text = NONE;
    else if (!shown) text = 'No flow matches.';
    else if (!complete) text = 'There are more folders than could be looked at in time.';
    if (this._note.textContent !== text) this._note.textContent = text;
    this._note.hidden = !text;
  }

  /** Who does not see the list hears what began and ended. */
  private _tell(): void {
    const news: string[] = [];
    for (const row of this._flows.rows) {
      const before = this._states.get(row.key);
      const now = state(row);
      if (before !== undefined && before !== now) news.push(`flow ${row.name} ${now}`);
      this._states.set(row.key, now);
    }
    if (news.length) this.say(news.join(', '));
  }

  private _actions: Actions = {
    open: key => this._open(key),
    more: (key, x, y) => this._more(key, x, y),
    start: key => void this._change(key, 'start'),
    stop: key => void this._change(key, 'stop'),
    addNode: async (key, args) => {
      const answer = await this._flows.addNode(key, args);
      if (answer.ok) this.say(`node ${String(args.name)} is added`);
      return answer;
    }
  };

  private async _change(key: string, verb: 'start' | 'stop'): Promise<void> {
    const view = this._views.get(key);
    if (view) view.busy = true;
    const answer = await this._flows[verb](key);
    if (view) view.busy = false;
    if (!answer.ok) {
      this._note.textContent = answer.error ?? '';
      this._note.hidden = false;
      this.say(answer.error ?? '');
    }
  }
}
