/** Files a person takes away. */

import type { Store } from './store';

export const svgOf = (store: Store): Promise<void> => download(store, 'svg', 'image/svg+xml');
export const jsonOf = (store: Store): Promise<void> => download(store, 'save', 'application/json');

async function download(store: Store, op: 'svg' | 'save', type: string): Promise<void> {
  const answer = await store.ask(op);
  if (!answer) return;
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([String(answer['text'])], { type }));
  link.download = `${store.graph?.flow ?? 'flow'}.${op === 'svg' ? 'svg' : 'json'}`;
  link.click();
  URL.revokeObjectURL(link.href);
  store.say(`${link.download} is downloaded`);
}
