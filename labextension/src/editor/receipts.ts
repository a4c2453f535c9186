/** What an edit does to what is under way: told after it, and before it while a person is about to make it. */

import type { Store } from './store';
import type { Answer } from './types';

export type Change = { op: string } & Record<string, unknown>;

/** The line of an edit's receipt; nothing where nothing was under way that it is about. */
export function receiptOf(answer: Answer | null): string {
  const receipt = answer?.['receipt'] as { text?: unknown } | undefined;
  return typeof receipt?.text === 'string' ? receipt.text : '';
}

/** What was done, and what became of what was under way. */
export function withReceipt(said: string, answer: Answer | null): string {
  const receipt = receiptOf(answer);
  return receipt ? `${said}: ${receipt}` : said;
}

/** Asks what an edit would do, and makes nothing; of one that cannot be made there is nothing to tell. */
export async function foretell(store: Store, changes: Change[]): Promise<string> {
  if (store.life !== 'live') return '';
  return receiptOf(await store.host.command('foretell', { changes }));
}
