/** What is lit up, and the way back to all of the flow. */

import type { JSX } from 'react';
import { useStore } from './context';
import { Icon, type IconName } from './icons';
import { useStory, type Way } from './story';

const SAID: Record<string, string> = { running: 'at work' };

/** So many are in each state, in words. */
export function counted(counts: Record<string, number>): string {
  const order = ['done', 'running', 'queued', 'waiting', 'failed', 'cancelled', 'skipped'];
  return order
    .filter(state => counts[state])
    .map(state => `${counts[state]!.toLocaleString('en')} ${state}`)
    .join(', ');
}

export function sums(way: Way): Record<string, number> {
  const found: Record<string, number> = {};
  for (const counts of Object.values(way.sockets)) {
    for (const [state, count] of Object.entries(counts)) found[state] = (found[state] ?? 0) + count;
  }
  return found;
}

export const stateWord = (state: string): string => SAID[state] ?? state;

export function StoryBar(): JSX.Element | null {
  const store = useStore();
  const way = useStory(store, story => story.way);
  const request = useStory(store, story => story.request);
  if (!way) return null;
  const waits = way.waits.reduce((sum, [, , count]) => sum + count, 0);
  return (
    <div className="ec-bar" role="region" aria-label="What is lit up">
      <span className={`ec-state ec-is-${way.state}`}>
        <Icon name={(way.state === 'cancelled' ? 'idle' : way.state) as IconName} />
        <b>{request === null ? `Run ${way.run}` : `Request ${request}`}</b>
      </span>
      <span className="ec-bar-text">
        {request === null ? stateWord(way.state) : `of run ${way.run}: what it came from and led to`}
        <span className="ec-muted">
          {request === null && ` · ${counted(sums(way))}${way.more ? ' and more' : ''}`}
          {request === null && waits > 0 && ` · ${waits} ${waits === 1 ? 'value waits' : 'values wait'}`}
        </span>
      </span>
      {request !== null && <button onClick={() => void store.story.choose(way.run)}>Whole run</button>}
      <button onClick={() => store.set({ panel: { kind: 'way', run: way.run } })}>Its story</button>
      <button onClick={() => store.set({ panel: { kind: 'timeline', run: way.run } })}>Timeline</button>
      <button
        className="ec-plain"
        aria-label="Show all of the flow"
        title="Show all of the flow (Escape)"
        onClick={() => store.story.clear()}
      >
        <Icon name="close" />
      </button>
    </div>
  );
}

/** What a run has done at a socket: in place of the counts of all runs. */
export function RunCounts({ name }: { name: string }): JSX.Element {
  const store = useStore();
  const counts = useStory(store, story => story.countsOf(name));
  const run = useStory(store, story => story.way?.run);
  const states = Object.keys(counts);
  return (
    <div className="ec-counts">
      {states.map(state => (
        <button
          key={state}
          className={`ec-count nodrag ec-is-${state}`}
          tabIndex={-1}
          aria-label={`${counts[state]} ${state} at ${name} in run ${run}`}
          title={`${counts[state]} ${state} in run ${run}: show its story`}
          onClick={() => store.set({ panel: { kind: 'way', run: run! } })}
        >
          <Icon name={(ICONS.has(state) ? state : 'idle') as IconName} />
          {counts[state]}
        </button>
      ))}
      <span className="ec-of-story">run {run}</span>
    </div>
  );
}

const ICONS = new Set(['queued', 'running', 'done', 'failed', 'waiting']);
