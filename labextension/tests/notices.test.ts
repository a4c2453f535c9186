/** What people are told of a flow: each thing once, however often somebody looks. */

import { describe, expect, it, vi } from 'vitest';
import type { FlowRow } from '../src/panel/service';

vi.mock('@jupyterlab/apputils', () => ({ Notification: {} }));
const { happened } = await import('../src/panel/notices');

const row = (counts: Record<string, number>, more: Partial<FlowRow> = {}): FlowRow => ({
  key: 'k',
  name: 'sums',
  path: 'sums',
  running: true,
  killed: false,
  arrived: 0,
  sockets: 1,
  nodes: [],
  error: null,
  idle: true,
  counts,
  ...more
});

describe('notices', () => {
  it('tells nothing of what was before it was asked to', () => {
    expect(happened(row({ done: 5, failed: 2 }), null)).toEqual([[], { failed: 2, ended: 7 }]);
  });

  it('tells of failures when there are more, and of the end once the flow is at rest', () => {
    const [working, then] = happened(row({ done: 6, failed: 4 }, { idle: false }), { failed: 2, ended: 7 });
    expect(working).toEqual([{ when: 'failure', text: "flow 'sums': 2 calls have failed" }]);
    const [ended, last] = happened(row({ done: 9, failed: 4 }), then);
    expect(ended).toEqual([{ when: 'end', text: "flow 'sums' has ended its work: 9 done, 4 failed" }]);
    expect(happened(row({ done: 9, failed: 4 }), last)).toEqual([[], last]);
  });

  it('tells later what happened while nobody looked, also of a flow that has stopped', () => {
    const stopped = row({ done: 9, failed: 3 }, { running: false });
    expect(happened(stopped, { failed: 2, ended: 7 })[0].map(one => one.when)).toEqual(['failure', 'end']);
    expect(happened(row({ done: 9, queued: 1 }, { running: false }), { failed: 0, ended: 7 })[0]).toEqual([]);
  });
});
