/** One flow of the list. Its elements stay while their texts change, so that neither focus nor a click gets lost. */

import type { Answer } from '../editor/types';
import { button, element } from './element';
import { NodeForm } from './form';
import type { FlowRow } from './service';
import { nodeText, numbers, room, rooms, state } from './words';

export interface Actions {
  open(key: string): void;
  start(key: string): void;
  stop(key: string): void;
  more(key: string, x: number, y: number): void;
  addNode(key: string, args: Record<string, unknown>): Promise<Answer>;
}

export class RowView {
  readonly node: HTMLLIElement;
  private _name: HTMLButtonElement;
  private _place = element('span', { class: 'ec-panel-place' });
  private _state = element('span', { class: 'ec-panel-state' });
  private _size = element('span', { class: 'ec-panel-size' });
  private _numbers = element('span', { class: 'ec-panel-numbers' });
  private _nodes = element('ul', { class: 'ec-panel-nodes', 'aria-label': 'Nodes' });
  private _form: NodeForm;
  private _error = element('span', { class: 'ec-panel-error' });
  private _life: HTMLButtonElement;
  private _row: FlowRow;

  constructor(row: FlowRow, actions: Actions) {
    const { key, name } = row;
    this._row = row;
    this._name = element('button', { type: 'button', class: 'ec-panel-name', title: `Open ${row.path}` }, name);
    this._name.addEventListener('click', () => actions.open(key));
    this._life = button('', '', () => {
      if (this._life.getAttribute('aria-disabled') === 'true') return;
      if (this._row.running) actions.stop(key);
      else actions.start(key);
    });
    this._form = new NodeForm(`Add a node to flow ${row.path}`, args => actions.addNode(key, args));
    const more = button('More…', `Rename, duplicate, clear or delete flow ${row.path}`, () => {
      const { left, bottom } = more.getBoundingClientRect();
      actions.more(key, left, bottom);
    });
    more.setAttribute('aria-haspopup', 'menu');
    const buttons = element(
      'span',
      { class: 'ec-panel-buttons' },
      button('Open', `Open flow ${row.path}`, () => actions.open(key)),
      this._life,
      this._form.opener,
      more
    );
    const head = element('div', { class: 'ec-panel-head' }, this._name, this._size, this._state);
    const foot = element('div', { class: 'ec-panel-foot' }, buttons);
    this.node = element(
      'li',
      { class: 'ec-panel-row' },
      head,
      this._place,
      this._numbers,
      this._error,
      this._nodes,
      foot,
      this._form.node
    );
    this.show(row);
  }

  show(row: FlowRow): void {
    this._row = row;
    this.node.dataset.state = row.running ? 'running' : row.killed ? 'killed' : 'stopped';
    set(this._state, state(row));
    set(this._size, row.size ? room(row.size['total'] ?? 0) : '');
    this._size.title = row.size ? rooms(row.size) : '';
    const place = row.path.slice(0, -row.name.length).replace(/\/$/, '');
    set(this._place, place);
    this._showNodes(row);
    this._form.possible = row.running;
    set(this._error, row.error ?? '');
    this._showNumbers(row);
    const [text, label] = row.running ? ['Stop', `Stop the engine of flow ${row.path}`] : ['Start', `Start flow ${row.path}`];
    set(this._life, text);
    this._life.setAttribute('aria-label', label);
    this._life.title = label;
  }

  /** While the engine starts or stops. */
  set busy(value: boolean) {
    // not `disabled`, which would take the focus away
    this._life.setAttribute('aria-disabled', String(value));
    this.node.setAttribute('aria-busy', String(value));
  }

  private _showNodes(row: FlowRow): void {
    const texts = row.nodes.map(nodeText);
    this._nodes.hidden = !texts.length;
    if (texts.join('\n') === [...this._nodes.children].map(one => one.textContent).join('\n')) return;
    this._nodes.replaceChildren(...texts.map(text => element('li', {}, text)));
  }

  private _showNumbers(row: FlowRow): void {
    const found = numbers(row);
    const said = found.map(([name, n]) => `${n} ${name}`).join(' · ') || quiet(row);
    if (this._numbers.textContent === said) return;
    const parts = found.flatMap(([name, n], i) => [
      ...(i ? [' · '] : []),
      element('span', { class: `ec-panel-number ec-panel-${name}` }, `${n} ${name}`)
    ]);
    this._numbers.replaceChildren(...(parts.length ? parts : [said]));
  }
}

function quiet(row: FlowRow): string {
  const sockets = `${row.sockets} ${row.sockets === 1 ? 'socket' : 'sockets'}`;
  return row.counts ? `${sockets}, nothing to do` : '';
}

function set(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text;
  // nothing to say takes no room, except where the layout holds the place
  node.hidden = text === '';
}
