/** The tabs of the one panel: left and right go from one to the next. */

import type { JSX, KeyboardEvent } from 'react';
import { useStore } from '../context';
import type { Panel } from '../store';
import { tabOf, type Tab } from './tabs';

/** The panel's body is named by the tab in force. */
export const tabId = (body: string, text: string | undefined): string => `${body}-${text}`;

export function TabRow({ panel, tabs, body }: { panel: Panel; tabs: Tab[]; body: string }): JSX.Element {
  const store = useStore();
  const here = tabOf(panel);
  const walk = (event: KeyboardEvent<HTMLElement>) => {
    const at = tabs.findIndex(tab => tab.text === here);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = (to + tabs.length) % tabs.length;
    (event.currentTarget.children[next] as HTMLElement).focus();
    store.set({ panel: tabs[next]!.panel });
  };
  return (
    <div role="tablist" className="ec-tabs" aria-label="Panel" onKeyDown={walk}>
      {tabs.map(({ text, panel: to }) => (
        <button
          key={text}
          role="tab"
          id={tabId(body, text)}
          aria-selected={text === here}
          aria-controls={body}
          tabIndex={text === here ? 0 : -1}
          onClick={() => store.set({ panel: to })}
        >
          {text}
        </button>
      ))}
    </div>
  );
}
