/** What can be done at a place: one list for the canvas, the outline and the keyboard, so that all can do the same. */

import { copy, paste } from './copying';
import { edit, pause, plug, refuse, removeSockets, retry, tidy, undo, unplug } from './edits';
import { groupId, groupsOf, processorId } from './frames';
import { askGroup, fold, joinGroup, ungroup } from './groups';
import { removeNote } from './notes';
import { askLab, inLab, inTab, openTab } from './lab';
import { fullScreen, jsonOf, pngOf, svgOf } from './saving';
import type { Choice, Panel, Store } from './store';
import type { Graph, Plug } from './types';
import { showLog, showMetrics, showRates } from './views';
import { feeding, findPlug, keyOf, outputType, plugName, ports, verdict, type Place } from './wiring';
import { waitingAt } from './words';

type Point = { x: number; y: number };

export const placeName = (place: Place): string => {
  switch (place.kind) {
    case 'processor':
      return `processor ${place.processor}`;
    case 'group':
      return `group ${place.group}`;
    case 'socket':
      return `socket ${place.socket}`;
    case 'argument':
      return `Argument ${place.argument} of ${place.socket}`;
    case 'output':
      return `Output of ${place.socket}`;
    case 'node':
      return `node ${place.node}`;
    case 'note':
      return 'Note';
    case 'plug': {
      const [source, target, argument, on] = JSON.parse(place.key) as [string, string, string, 'result' | 'error'];
      return `plug ${plugName({ source, target, argument, on })}`;
    }
  }
};

/** Opens the list of what can be done at a place. */
export function open(store: Store, place: Place, at?: Point): void {
  if (store.past.on) return store.say('this is the past: go back to now to change something');
  const choices = store.graph ? choicesAt(store, store.graph, place, at ?? null) : [];
  const title = place.kind === 'output' ? `Plug the output of ${place.socket} into` : placeName(place);
  store.set({ chooser: { title, choices, ...(at && { at }) }, refusal: null });
}

function choicesAt(store: Store, graph: Graph, place: Place, at: Point | null): Choice[] {
  switch (place.kind) {
    case 'processor':
      return ofProcessor(store, graph, place.processor);
    case 'group':
      return ofGroup(store, place.group);
    case 'socket':
      return ofSocket(store, graph, place.socket, at);
    case 'argument':
      return ofArgument(store, graph, place.socket, place.argument, at);
    case 'output':
      return [
        ...into(store, graph, place.socket, at),
        ...graph.plugs.filter(one => one.source === place.socket).flatMap(p => ofPlug(store, p))
      ];
    case 'node':
      return [show(store, 'Details', place)];
    case 'note':
      return [
        { text: 'Write', run: () => requestAnimationFrame(() => store.set({ writing: place.note })) },
        { text: 'Remove', hint: 'undo brings it back', run: () => void removeNote(store, place.note) }
      ];
    case 'plug': {
      const found = findPlug(graph, place.key);
      return found ? ofPlug(store, found) : [];
    }
  }
}

const show = (store: Store, text: string, panel: Panel, hint?: string): Choice => ({
  text,
  ...(hint && { hint }),
  run: () => store.set({ panel })
});

/** Opens the list of arguments of a card that an output may be plugged into. */
export function openInto(store: Store, source: string, card: string, at: Point): void {
  const { graph } = store;
  if (!graph) return;
  const choices = into(store, graph, source, at, [card]);
  const [first] = ports(graph.sockets[card]!);
  if (choices.length) store.set({ chooser: { title: `Plug the output of ${source} into`, choices, at }, refusal: null });
  else refuse(store, first ? verdict(graph, source, card, first.name).reason! : `${card} takes no arguments`, at);
}

/** Arguments that an output may be plugged into: first those that take it as it is. */
export function into(
  store: Store,
  graph: Graph,
  source: string,
  at: Point | null,
  targets = Object.keys(graph.sockets)
): Choice[] {
  const fitting: Choice[] = [];
  const curable: Choice[] = [];
  for (const target of targets) {
    for (const port of ports(graph.sockets[target]!)) {
      const { ok, remedy } = verdict(graph, source, target, port.name);
      const ends = { source, target, argument: port.name };
      const name = `${target}.${port.name}`;
      if (ok) fitting.push({ text: name, hint: port.annotation ?? '', run: () => void plug(store, ends, at) });
      else if (remedy) {
        const run = () => void plug(store, ends, at, remedy.options);
        curable.push({ text: name, hint: remedy.text.toLowerCase(), run });
      }
    }
  }
  return [...fitting, ...curable];
}

function ofArgument(store: Store, graph: Graph, socket: string, argument: string, at: Point | null): Choice[] {
  const arrived = waitingAt(store.countsOf(socket), argument);
  const waiting = show(store, 'Values that wait', { kind: 'waiting', socket, argument }, arrived ? `${arrived}` : 'none');
  const fitting = Object.entries(graph.sockets)
    .filter(([source]) => verdict(graph, source, socket, argument).ok)
    .map(([source, from]) => ({
      text: `Plug from ${source}`,
      hint: outputType(from) ?? '',
      run: () => void plug(store, { source, target: socket, argument }, at)
    }));
  const fixed = graph.sockets[socket]!.fixed[argument];
  const unfix: Choice = {
    text: 'Take the fixed value away',
    hint: fixed?.text ?? '',
    run: () => void edit(store, [{ op: 'unfix', socket, argument }], `${socket}.${argument} is fixed no more`)
  };
  return [
    ...(arrived ? [waiting] : []),
    ...feeding(graph, socket, argument).flatMap(one => ofPlug(store, one)),
    ...fitting,
    show(store, 'Fix a value', { kind: 'fix', socket, argument }, 'for every call'),
    ...(fixed ? [unfix] : []),
    ...(arrived ? [] : [waiting])
  ];
}

function ofPlug(store: Store, found: Plug): Choice[] {
  return [
    show(store, `Options of ${plugName(found)}`, { kind: 'plug', key: keyOf(found) }),
    { text: `Unplug ${plugName(found)}`, run: () => void unplug(store, [found]) }
  ];
}

function ofSocket(store: Store, graph: Graph, socket: string, at: Point | null): Choice[] {
  const { paused, processor } = graph.sockets[socket]!;
  const { failed, asked } = store.countsOf(socket);
  const others = Object.keys(graph.processors).filter(name => name !== processor);
  return [
    ...(asked
      ? [show(store, 'Answer what it asks', { kind: 'waiting', socket, argument: null }, `${asked} wait for a person`)]
      : []),
    show(store, 'Run', { kind: 'run', socket }, 'with arguments of your own'),
    { text: 'Plug its output', hint: 'into an argument', run: () => open(store, { kind: 'output', socket }, at ?? undefined) },
    show(store, 'Details', { kind: 'socket', socket }),
    show(store, 'Code', { kind: 'source', socket }, 'its versions; edit it'),
    show(store, 'Values', { kind: 'values', socket, id: null, run: null }, 'what it gave'),
    show(store, 'Failed requests', { kind: 'requests', socket, state: 'failed' }, `${failed}`),
    ...(failed ? [{ text: 'Retry all failed', run: () => void retry(store, { socket }) }] : []),
    show(store, 'Requests', { kind: 'requests', socket, state: null }),
    { text: 'Log', hint: 'of its calls', run: () => showLog(store, socket) },
    { text: 'Metrics', hint: 'the last hour', run: () => showMetrics(store, 'socket', socket) },
    show(store, 'Values that wait', { kind: 'waiting', socket, argument: null }),
    { text: paused ? 'Resume' : 'Pause', run: () => void pause(store, { socket }, !paused) },
    show(store, 'Rename', { kind: 'rename', socket }),
    ...grouping(store, graph, socket),
    ...others.map(name => ({
      text: `Move to processor ${name}`,
      run: () => void edit(store, [{ op: 'move', socket, processor: name }], `${socket} runs on ${name}`)
    })),
    { text: 'Remove', hint: 'undo brings it back', run: () => void removeSockets(store, [socket]) }
  ];
}

function ofProcessor(store: Store, graph: Graph, processor: string): Choice[] {
  const { paused } = graph.processors[processor]!;
  return [
    show(store, 'CPUs and details', { kind: 'processor', processor }),
    { text: 'Metrics', hint: 'the last hour', run: () => showMetrics(store, 'processor', processor) },
    { text: paused ? 'Resume' : 'Pause', run: () => void pause(store, { processor }, !paused) },
    folding(store, processorId(processor))
  ];
}

function folding(store: Store, id: string): Choice {
  return { text: store.view.folded.has(id) ? 'Unfold' : 'Fold', hint: 'to one card', run: () => fold(store, id) };
}

function ofGroup(store: Store, group: string): Choice[] {
  return [
    show(store, 'Details', { kind: 'group', group }, 'its sockets'),
    folding(store, groupId(group)),
    show(store, 'Rename', { kind: 'renameGroup', group }),
    { text: 'Ungroup', hint: 'its sockets stay', run: () => void ungroup(store, group) }
  ];
}

/** What can be done with the groups of a socket, or of all that are selected with it. */
function grouping(store: Store, graph: Graph, socket: string): Choice[] {
  const { group } = graph.sockets[socket]!;
  const { sockets } = store.view.selected;
  const chosen = sockets.includes(socket) ? sockets : [socket];
  const others = [...groupsOf(graph).keys()].filter(name => name !== group);
  return [
    { text: chosen.length > 1 ? `Group ${chosen.length} sockets` : 'Group', hint: 'Ctrl+G', run: () => askGroup(store, chosen) },
    ...others.map(name => ({ text: `Put into group ${name}`, run: () => void joinGroup(store, name, socket) })),
    ...(group ? [{ text: `Take out of group ${group}`, run: () => void ungroup(store, group, socket) }] : [])
  ];
}

/** Everything there is: places by name, then commands. */
export function palette(store: Store): void {
  const { graph } = store;
  const go = (place: Place, hint: string): Choice => ({ text: placeName(place), hint, run: () => store.goTo(place) });
  const sockets = Object.entries(graph?.sockets ?? {}).map(([socket, of]) =>
    go({ kind: 'socket', socket }, of.doc.split('\n')[0] ?? '')
  );
  const processors = Object.keys(graph?.processors ?? {}).map(processor => go({ kind: 'processor', processor }, ''));
  const groups = [...(graph ? groupsOf(graph).keys() : [])].map(group => go({ kind: 'group', group }, ''));
  const nodes = store.nodes.map(({ name: node }) => go({ kind: 'node', node }, ''));
  store.set({
    chooser: { title: 'Search', choices: [...sockets, ...groups, ...processors, ...nodes, ...commands(store)] },
    refusal: null
  });
}

function commands(store: Store): Choice[] {
  const { outline, rates } = store.view;
  const views: Choice[] = [
    { text: 'Fit the picture', run: () => store.fitAll() },
    { text: outline ? 'Hide the outline' : 'Show the outline', run: () => store.set({ outline: !outline }) },
    ...(inLab() && !inTab(store) ? [{ text: 'Open in tab', run: () => void openTab(store) }] : []),
    ...(document.fullscreenEnabled ? [{ text: 'Full screen', run: () => void fullScreen(store) }] : []),
    { text: rates ? 'Hide rates' : 'Show rates and latency', run: () => showRates(store, !rates) },
    show(store, 'Runs', { kind: 'runs' }, 'one of them lights up'),
    show(store, 'Timeline', { kind: 'timeline', run: null }, 'when and where calls ran'),
    show(store, 'Help', { kind: 'help' }, 'keys')
  ];
  if (store.life === 'static') return views;
  return [
    ...views,
    { text: 'The flow as it was', hint: 'a slider under the picture', run: () => void store.past.open() },
    { text: 'Undo', hint: 'Ctrl+Z', run: () => void undo(store, 'undo') },
    { text: 'Redo', hint: 'Ctrl+Shift+Z', run: () => void undo(store, 'redo') },
    { text: 'Tidy', hint: 'lay everything out anew', run: () => void tidy(store) },
    ...(store.view.selected.sockets.length
      ? [{ text: 'Group what is selected', hint: 'Ctrl+G', run: () => askGroup(store, store.view.selected.sockets) }]
      : []),
    show(store, 'Add a processor', { kind: 'add' }),
    show(store, 'Add a node', { kind: 'addNode' }),
    { text: 'Log', hint: 'output, failures, edits', run: () => showLog(store) },
    { text: 'Metrics', hint: 'the last hour', run: () => showMetrics(store) },
    show(store, 'History of edits', { kind: 'history' }),
    { text: 'Copy plugs', hint: 'Ctrl+C', run: () => void copy(store) },
    { text: 'Paste plugs', hint: 'Ctrl+V', run: () => void paste(store) },
    ...exported(store),
    ...(inLab() ? whole(store) : [])
  ];
}

/** What JupyterLab does to the flow as a whole; it asks before. */
function whole(store: Store): Choice[] {
  const verbs = { Rename: 'rename', Duplicate: 'duplicate', Clear: 'clear', Delete: 'delete' };
  return Object.entries(verbs).map(([text, verb]) => ({
    text: `${text} this flow`,
    run: () => {
      void askLab(store, 'manage', { verb })?.then(answer => answer.ok || store.say(answer.error ?? ''));
    }
  }));
}

function exported(store: Store): Choice[] {
  return [
    show(store, 'Code of this flow', { kind: 'code' }, 'one cell that makes it anew'),
    { text: 'Download as SVG', hint: 'as it is now', run: () => void svgOf(store) },
    { text: 'Download as PNG', hint: 'as it is now', run: () => void pngOf(store) },
    { text: 'Download as JSON', hint: 'the wiring, for ec.load', run: () => void jsonOf(store) }
  ];
}

/** What can be taken away. */
export function exports(store: Store): void {
  store.set({ chooser: { title: 'Export', choices: exported(store) }, refusal: null });
}
