/** Tells people of flows that ask for it: at the end of their work and of failures, in Lab or by the browser, once. */

import { Notification as LabNotification } from '@jupyterlab/apputils';
import type { FlowRow, Flows } from './service';

const KEY = 'ec-jupyter:told:';

/** What was told of a flow last. */
interface Told {
  failed: number;
  /** How many requests had ended when its work had, the last time that was told. */
  ended: number;
}

export interface Happened {
  when: 'end' | 'failure';
  text: string;
}

const sum = (row: FlowRow, states: string[]): number => states.reduce((all, state) => all + (row.counts?.[state] ?? 0), 0);

/** What has happened to a flow since it was told of last, and what is told from now on. */
export function happened(row: FlowRow, before: Told | null): [Happened[], Told] {
  const failed = sum(row, ['failed']);
  const ended = sum(row, ['done', 'failed', 'cancelled', 'skipped']);
  const busy = row.running ? !row.idle : sum(row, ['queued', 'running']) > 0;
  if (!before) return [[], { failed, ended }];
  const found: Happened[] = [];
  const wrong = failed - before.failed;
  if (wrong > 0) {
    const calls = wrong === 1 ? '1 call has failed' : `${wrong} calls have failed`;
    found.push({ when: 'failure', text: `flow '${row.name}': ${calls}` });
  }
  if (!busy && ended > before.ended) {
    const text = `flow '${row.name}' has ended its work: ${sum(row, ['done'])} done, ${failed} failed`;
    found.push({ when: 'end', text });
  }
  // one that is at work is counted from where it was at rest
  return [found, { failed, ended: busy ? before.ended : ended }];
}

export class Notices {
  private asked = false;

  constructor(private flows: Flows) {
    flows.changed.connect(() => this.look());
  }

  private look(): void {
    for (const row of this.flows.rows) {
      const wanted = row.notify ?? {};
      if (!Object.keys(wanted).length || !row.counts) continue;
      const [found, told] = happened(row, read(row.key));
      write(row.key, told);
      for (const { when, text } of found) {
        if (wanted['lab']?.includes(when)) show(when, text);
        if (wanted['browser']?.includes(when)) popUp(row, text);
      }
      if (wanted['browser']?.length) this.askOnce();
    }
  }

  /** A browser shows nothing before a person has clicked that it may. */
  private askOnce(): void {
    if (this.asked || !('Notification' in window) || Notification.permission !== 'default') return;
    this.asked = true;
    LabNotification.info('A flow is to tell you by notifications of the browser.', {
      autoClose: false,
      actions: [{ label: 'Allow', callback: () => void Notification.requestPermission() }]
    });
  }
}

function show(when: string, text: string): void {
  if (when === 'failure') LabNotification.error(text, { autoClose: false });
  else LabNotification.success(text, { autoClose: 10_000 });
}

function popUp(row: FlowRow, text: string): void {
  if (!('Notification' in window) || Notification.permission !== 'granted') return;
  // one a flow: the newest stands for those before it
  new Notification('ec_jupyter', { body: text, tag: row.key });
}

function read(key: string): Told | null {
  try {
    return JSON.parse(localStorage.getItem(KEY + key) ?? 'null') as Told | null;
  } catch {
    return null;
  }
}

function write(key: string, told: Told): void {
  localStorage.setItem(KEY + key, JSON.stringify(told));
}
