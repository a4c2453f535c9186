/** Ways to look at runs, in the one panel. */

import type { JSX } from 'react';
import { useStore } from '../context';
import type { Panel } from '../store';

type Tab = 'runs' | 'way' | 'timeline';

export function RunTabs({ run, here }: { run: number | null; here: Tab }): JSX.Element {
  const store = useStore();
  const tabs: [Tab, string, Panel][] = [
    ['runs', 'Runs', { kind: 'runs' }],
    ...(run === null ? [] : [['way', 'Story', { kind: 'way', run }] as [Tab, string, Panel]]),
    ['timeline', 'Timeline', { kind: 'timeline', run }]
  ];
  return (
    <nav className="ec-tabs" aria-label="Runs and their time">
      {tabs.map(([tab, text, panel]) => (
        <button key={tab} aria-current={tab === here ? 'page' : undefined} onClick={() => store.set({ panel })}>
          {text}
        </button>
      ))}
    </nav>
  );
}
