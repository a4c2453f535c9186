/** The one panel, at the right of the picture or below it; what it shows is in `store.view.panel`. */

import { useEffect, useId, useRef, useState, type JSX, type ReactNode } from 'react';
import { placeName } from '../choices';
import { useStore } from '../context';
import { Icon } from '../icons';
import { remember } from '../remembered';
import type { Panel } from '../store';
import { AddNodePanel, AddPanel, FixPanel, RenamePanel, RunPanel } from './forms';
import { GroupingPanel, GroupPanel, RenameGroupPanel } from './GroupPanel';
import { CodePanel, HelpPanel, HistoryPanel } from './texts';
import { NewSocketPanel } from './NewSocketPanel';
import { LogPanel } from './LogPanel';
import { MetricsPanel } from './MetricsPanel';
import { NodePanel } from './NodePanel';
import { PlugPanel } from './PlugPanel';
import { ProcessorPanel } from './ProcessorPanel';
import { RequestPanel, RequestsPanel } from './RequestsPanel';
import { RunsPanel } from './RunsPanel';
import { SocketPanel } from './SocketPanel';
import { SourcePanel } from './SourcePanel';
import { Splitter, type Side } from './Splitter';
import { StoryPanel } from './StoryPanel';
import { TabRow, tabId } from './TabRow';
import { aboutOf, tabOf, tabsOf } from './tabs';
import { TimelinePanel } from './TimelinePanel';
import { ValuesPanel } from './ValuesPanel';
import { WaitingPanel } from './WaitingPanel';

function title(panel: Panel): string {
  switch (panel.kind) {
    case 'grouping':
      return `Group ${panel.sockets.length === 1 ? panel.sockets[0] : `${panel.sockets.length} sockets`}`;
    case 'renameGroup':
      return `Rename group ${panel.group}`;
    case 'waiting':
      return panel.argument === null ? `Waiting at ${panel.socket}` : `Waiting at ${panel.argument} of ${panel.socket}`;
    case 'requests':
      return `${panel.state ? `${panel.state[0]!.toUpperCase()}${panel.state.slice(1)} requests` : 'Requests'} of ${panel.socket}`;
    case 'request':
      return `Request ${panel.id} of ${panel.socket}`;
    case 'values':
      return `Values of ${panel.socket}`;
    case 'run':
      return `Run ${panel.socket}`;
    case 'rename':
      return `Rename ${panel.socket}`;
    case 'fix':
      return `Fix ${panel.argument} of ${panel.socket}`;
    case 'log':
      return 'Log';
    case 'metrics':
      return panel.of && panel.name ? `Metrics of ${panel.of} ${panel.name}` : 'Metrics';
    case 'runs':
      return 'Runs';
    case 'way':
      return `Story of run ${panel.run}`;
    case 'timeline':
      return panel.run === null ? 'Timeline' : `Timeline of run ${panel.run}`;
    case 'add':
      return 'Add a processor';
    case 'addNode':
      return 'Add a node';
    case 'source':
      return `Code of ${panel.socket}`;
    case 'newSocket':
      return 'New socket';
    case 'code':
      return 'Code of this flow';
    case 'history':
      return 'History of edits';
    case 'help':
      return 'Help';
    default: {
      const name = placeName(panel);
      return name[0]!.toUpperCase() + name.slice(1);
    }
  }
}

function body(panel: Panel): ReactNode {
  switch (panel.kind) {
    case 'plug':
      return <PlugPanel plugKey={panel.key} />;
    case 'socket':
      return <SocketPanel name={panel.socket} />;
    case 'processor':
      return <ProcessorPanel name={panel.processor} />;
    case 'group':
      return <GroupPanel name={panel.group} />;
    case 'grouping':
      return <GroupingPanel sockets={panel.sockets} />;
    case 'renameGroup':
      return <RenameGroupPanel group={panel.group} />;
    case 'waiting':
      return <WaitingPanel socket={panel.socket} argument={panel.argument} />;
    case 'requests':
      return <RequestsPanel socket={panel.socket} state={panel.state} />;
    case 'request':
      return <RequestPanel id={panel.id} socket={panel.socket} state={panel.state} />;
    case 'values':
      return <ValuesPanel socket={panel.socket} id={panel.id} run={panel.run} />;
    case 'run':
      return <RunPanel socket={panel.socket} />;
    case 'rename':
      return <RenamePanel socket={panel.socket} />;
    case 'fix':
      return <FixPanel socket={panel.socket} argument={panel.argument} />;
    case 'log':
      return <LogPanel panel={panel} />;
    case 'metrics':
      return <MetricsPanel panel={panel} />;
    case 'runs':
      return <RunsPanel />;
    case 'way':
      return <StoryPanel run={panel.run} />;
    case 'timeline':
      return <TimelinePanel run={panel.run} />;
    case 'add':
      return <AddPanel />;
    case 'addNode':
      return <AddNodePanel />;
    case 'source':
      return <SourcePanel name={panel.socket} />;
    case 'newSocket':
      return <NewSocketPanel wanted={panel.wanted} />;
    case 'node':
      return <NodePanel name={panel.node} />;
    case 'code':
      return <CodePanel />;
    case 'history':
      return <HistoryPanel />;
    case 'help':
      return <HelpPanel />;
  }
}

export function PanelBox({ panel, side, turn }: { panel: Panel; side: Side; turn: (() => void) | null }): JSX.Element {
  const store = useStore();
  const box = useRef<HTMLElement>(null);
  const id = useId();
  const heading = title(panel);
  const tabs = tabsOf(panel);
  // where the focus was when the first panel opened: it goes back there at the end
  const [before] = useState(() => document.activeElement as HTMLElement | null);
  useEffect(() => {
    // who walks the tabs stays on them
    if (document.activeElement?.role === 'tab') return;
    const first = box.current!.querySelector<HTMLElement>('[data-first]') ?? box.current!;
    first.focus({ preventScroll: true });
  }, [heading]);
  const here = tabs.find(tab => tab.panel.kind === panel.kind)?.text;
  const about = aboutOf(tabs);
  useEffect(() => {
    if (here && about) remember(`panel-tab-${about}`, here);
  }, [here, about]);
  useEffect(
    () => () => {
      const place = before?.dataset['place'];
      const now = before?.isConnected
        ? before
        : place && store.box?.querySelector<HTMLElement>(`[data-place="${CSS.escape(place)}"]`);
      // but not away from where a person went meanwhile
      if (now && (!document.activeElement || document.activeElement === document.body)) now.focus({ preventScroll: true });
    },
    [before, store]
  );
  const turned = side === 'below' ? 'Panel at the right' : 'Panel below';
  return (
    <section ref={box} className="ec-panel nowheel" aria-label={heading} tabIndex={-1}>
      <Splitter side={side} />
      <header>
        <h2>{heading}</h2>
        {tabs.length > 0 && <TabRow panel={panel} tabs={tabs} body={id} />}
        {turn && (
          <button className="ec-plain" aria-label={turned} title={turned} onClick={turn}>
            <Icon name={side === 'below' ? 'atRight' : 'below'} />
          </button>
        )}
        <button className="ec-plain" aria-label="Close" title="Close (Escape)" onClick={() => store.set({ panel: null })}>
          <Icon name="close" />
        </button>
      </header>
      <div
        className="ec-panel-body"
        key={heading}
        id={id}
        tabIndex={0}
        {...(tabs.length > 0 && { role: 'tabpanel', 'aria-labelledby': tabId(id, tabOf(panel)) })}
      >
        {body(panel)}
      </div>
    </section>
  );
}
