/** What else there is of what a panel is about: of a socket, a processor, a node, a run, or the flow. Pure. */

import type { Panel } from '../store';

export interface Tab {
  text: string;
  panel: Panel;
}

const KINDS: Partial<Record<Panel['kind'], string>> = {
  values: 'Values',
  requests: 'Requests',
  request: 'Requests',
  waiting: 'Waiting',
  source: 'Code',
  log: 'Log',
  metrics: 'Metrics',
  runs: 'Runs',
  way: 'Story',
  timeline: 'Timeline',
  socket: 'Options',
  run: 'Options',
  rename: 'Options',
  fix: 'Options',
  processor: 'Options',
  node: 'Options'
};

/** What tabs are of, where that has options of its own. */
export function aboutOf(tabs: Tab[]): Panel['kind'] | null {
  const last = tabs.at(-1);
  return last?.text === 'Options' ? last.panel.kind : null;
}

/** The text of the tab that a panel stands under. */
export const tabOf = (panel: Panel): string | undefined => KINDS[panel.kind];

const log = (socket: string | null, run: number | null): Tab => ({
  text: 'Log',
  panel: { kind: 'log', socket, run, request: null, level: 'info', text: '' }
});

function ofSocket(socket: string): Tab[] {
  return [
    { text: 'Values', panel: { kind: 'values', socket, id: null, run: null } },
    { text: 'Requests', panel: { kind: 'requests', socket, state: null } },
    { text: 'Waiting', panel: { kind: 'waiting', socket, argument: null } },
    { text: 'Code', panel: { kind: 'source', socket } },
    log(socket, null),
    { text: 'Metrics', panel: { kind: 'metrics', of: 'socket', name: socket } },
    { text: 'Options', panel: { kind: 'socket', socket } }
  ];
}

/** Of one run, or of all of them: the flow's. */
function ofRuns(run: number | null): Tab[] {
  return [
    { text: 'Runs', panel: { kind: 'runs' } },
    ...(run === null ? [] : [{ text: 'Story', panel: { kind: 'way', run } as const }]),
    { text: 'Timeline', panel: { kind: 'timeline', run } },
    log(null, run),
    ...(run === null ? [{ text: 'Metrics', panel: { kind: 'metrics', of: null, name: null } as const }] : [])
  ];
}

/** Empty where a panel stands by itself. */
export function tabsOf(panel: Panel): Tab[] {
  switch (panel.kind) {
    case 'log':
      return panel.socket === null ? ofRuns(panel.run) : ofSocket(panel.socket);
    case 'metrics':
      if (!panel.of || panel.name === null) return ofRuns(null);
      if (panel.of === 'socket') return ofSocket(panel.name);
      return ofPlace(panel.of === 'node' ? { kind: 'node', node: panel.name } : { kind: 'processor', processor: panel.name });
    case 'processor':
    case 'node':
      return ofPlace(panel);
    case 'runs':
      return ofRuns(null);
    case 'way':
    case 'timeline':
      return ofRuns(panel.run);
    default:
      return 'socket' in panel ? ofSocket(panel.socket) : [];
  }
}

function ofPlace(panel: Extract<Panel, { kind: 'processor' | 'node' }>): Tab[] {
  const name = panel.kind === 'node' ? panel.node : panel.processor;
  return [
    { text: 'Metrics', panel: { kind: 'metrics', of: panel.kind, name } },
    { text: 'Options', panel }
  ];
}
