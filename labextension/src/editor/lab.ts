/** What a JupyterLab around the picture does for it; in other front ends nobody answers, and the picture says what to do. */

import type { Store } from './store';
import type { Answer } from './types';

/** An event that the plugin of JupyterLab answers, wherever in its page a picture stands. */
export const ASK = 'ec-lab';

export interface LabQuestion {
  what: 'tab' | 'manage' | 'cell' | 'jump' | 'write' | 'editor';
  flow: string;
  args: Record<string, unknown>;
  /** Set by who answers. */
  answer?: Promise<Answer>;
}

/** The plugin marks the page. */
export const inLab = (): boolean => 'ecLab' in document.body.dataset;

export const inTab = (store: Store): boolean => !!store.box?.closest('.ec-tab');

/** Its answer; null where there is no JupyterLab around. */
export function askLab(store: Store, what: LabQuestion['what'], args: Record<string, unknown> = {}): Promise<Answer> | null {
  if (!store.box || !inLab()) return null;
  const detail: LabQuestion = { what, flow: store.graph?.flow ?? '', args };
  store.box.dispatchEvent(new CustomEvent(ASK, { bubbles: true, detail }));
  return detail.answer ?? null;
}

export async function openTab(store: Store): Promise<void> {
  const answer = await askLab(store, 'tab');
  if (answer && !answer.ok) store.say(answer.error ?? 'there is no tab for this flow');
}
