/** The same wiring as a tree: for a screen reader, and for who would rather read than look. */

import { memo, useMemo, useRef, useState, type JSX, type KeyboardEvent } from 'react';
import { open } from './choices';
import { useStore } from './context';
import { Icon } from './icons';
import { remove } from './keys';
import { progressText } from './ProgressStrip';
import { useCounts, useDepth, useGraph, useNodeText } from './store';
import { entriesOf, groupsOf } from './frames';
import { SumText } from './Sum';
import type { Graph, Plug } from './types';
import { feeding, findPlug, keyOf, outputType, placeId, ports, type Place } from './wiring';
import { nodeState, short, stateOf, stateText, usage, waitingAt } from './words';

interface Row {
  id: string;
  place: Place;
  level: number;
  children: boolean;
}

/** What is open unless it is in `opened`. */
const isFrame = ({ kind }: Place): boolean => kind === 'processor' || kind === 'group';

/** Rows that are visible with `opened` open; processors and groups are open unless they are in it. */
function rows(graph: Graph, opened: ReadonlySet<string>): Row[] {
  const list: Row[] = [];
  const add = (place: Place, level: number, children: boolean, under = ''): boolean => {
    const id = under + placeId(place);
    list.push({ id, place, level, children });
    return children && opened.has(id) !== isFrame(place);
  };
  const plugs = (of: Plug[], level: number, under: string) =>
    of.forEach(one => add({ kind: 'plug', key: keyOf(one) }, level, false, under));
  const card = (socket: string, level: number) => {
    if (!add({ kind: 'socket', socket }, level, true)) return;
    for (const { name: argument } of ports(graph.sockets[socket]!)) {
      const feeds = feeding(graph, socket, argument);
      if (add({ kind: 'argument', socket, argument }, level + 1, feeds.length > 0)) plugs(feeds, level + 2, 'into ');
    }
    const out = graph.plugs.filter(plug => plug.source === socket);
    if (add({ kind: 'output', socket }, level + 1, out.length > 0)) plugs(out, level + 2, 'out ');
  };
  for (const processor of Object.keys(graph.processors)) {
    const own = entriesOf(graph, processor, names => names);
    if (!add({ kind: 'processor', processor }, 1, own.length > 0)) continue;
    for (const { group, sockets } of own) {
      if (group === null || add({ kind: 'group', group }, 2, true)) sockets.forEach(name => card(name, group === null ? 2 : 3));
    }
  }
  for (const { name: node } of graph.nodes) add({ kind: 'node', node }, 1, false);
  for (const { id: note } of graph.notes ?? []) add({ kind: 'note', note }, 1, false);
  return list;
}

export function Outline(): JSX.Element {
  const store = useStore();
  const graph = useGraph(store, known => known);
  const [opened, setOpened] = useState<ReadonlySet<string>>(new Set());
  const [current, setCurrent] = useState('');
  const tree = useRef<HTMLUListElement>(null);
  const list = useMemo(() => (graph ? rows(graph, opened) : []), [graph, opened]);
  const at = Math.max(
    0,
    list.findIndex(row => row.id === current)
  );

  const toggle = (id: string) => {
    const next = new Set(opened);
    if (!next.delete(id)) next.add(id);
    setOpened(next);
  };
  const isOpen = (row: Row) => opened.has(row.id) !== isFrame(row.place);
  const goTo = (index: number) => {
    const row = list[Math.max(0, Math.min(list.length - 1, index))];
    if (!row) return;
    setCurrent(row.id);
    tree.current?.querySelector<HTMLElement>(`[data-row="${CSS.escape(row.id)}"]`)?.focus();
  };
  const parentOf = (row: Row) => list.slice(0, at).findLastIndex(other => other.level < row.level);
  const onKeyDown = (event: KeyboardEvent) => {
    const row = list[at];
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const acts: Record<string, () => void> = {
      ArrowDown: () => goTo(at + 1),
      ArrowUp: () => goTo(at - 1),
      Home: () => goTo(0),
      End: () => goTo(list.length - 1),
      ArrowRight: () => (row.children && !isOpen(row) ? toggle(row.id) : goTo(at + (row.children ? 1 : 0))),
      ArrowLeft: () => (row.children && isOpen(row) ? toggle(row.id) : goTo(Math.max(0, parentOf(row)))),
      Enter: () => act(row, event.target as HTMLElement),
      ' ': () => row.children && toggle(row.id),
      Delete: () => remove(store, row.place)
    };
    const found = acts[event.key];
    if (!found) return;
    found();
    event.preventDefault();
    event.stopPropagation();
  };
  const act = (row: Row, element: HTMLElement) => {
    const box = element.getBoundingClientRect();
    setCurrent(row.id);
    open(store, row.place, { x: box.left + 24, y: box.bottom });
  };
  return (
    <nav className="ec-outline" aria-label="Outline">
      <ul ref={tree} role="tree" aria-label={`Flow ${graph?.flow ?? ''}`} onKeyDown={onKeyDown}>
        {list.map((row, index) => (
          <li
            key={row.id}
            role="treeitem"
            data-row={row.id}
            data-place={row.id}
            aria-level={row.level}
            aria-expanded={row.children ? isOpen(row) : undefined}
            aria-selected={index === at}
            tabIndex={index === at ? 0 : -1}
            style={{ paddingLeft: row.level * 14 - 8 }}
            onFocus={() => setCurrent(row.id)}
            onClick={() => toggle(row.id)}
            onDoubleClick={() => store.goTo(row.place)}
          >
            <span className={`ec-twist${row.children ? (isOpen(row) ? ' ec-open' : '') : ' ec-leaf'}`}>
              <Icon name="open" />
            </span>
            <Text place={row.place} />
            <button
              className="ec-plain"
              tabIndex={-1}
              aria-hidden="true"
              title="Actions (Enter)"
              onClick={event => {
                event.stopPropagation();
                act(row, event.currentTarget.parentElement!);
              }}
            >
              <Icon name="more" />
            </button>
          </li>
        ))}
      </ul>
    </nav>
  );
}

const Text = memo(function Text({ place }: { place: Place }): JSX.Element | null {
  const store = useStore();
  const graph = useGraph(store, known => known);
  if (!graph) return null;
  switch (place.kind) {
    case 'processor':
      return <ProcessorText name={place.processor} />;
    case 'group':
      return <GroupText name={place.group} graph={graph} />;
    case 'socket':
      return graph.sockets[place.socket] ? <SocketText name={place.socket} graph={graph} /> : null;
    case 'argument':
      return graph.sockets[place.socket] ? <ArgumentText {...place} graph={graph} /> : null;
    case 'output': {
      const of = graph.sockets[place.socket];
      return (
        <span>
          output <code className="ec-type">{of && outputType(of)}</code>
        </span>
      );
    }
    case 'node':
      return <NodeText name={place.node} />;
    case 'note':
      return <span>note: {graph.notes?.find(one => one.id === place.note)?.text}</span>;
    case 'plug': {
      const plug = findPlug(graph, place.key);
      return plug ? <PlugText plug={plug} /> : null;
    }
  }
});

function ProcessorText({ name }: { name: string }): JSX.Element {
  const store = useStore();
  const processor = useGraph(store, graph => graph?.processors[name]);
  const paused = processor?.paused;
  return (
    <span>
      <b>{name}</b>{' '}
      <span className="ec-muted">
        processor, {processor?.cpus ?? 'all'} CPUs{paused && ', paused'}
      </span>
    </span>
  );
}

function GroupText({ name, graph }: { name: string; graph: Graph }): JSX.Element {
  const sockets = groupsOf(graph).get(name) ?? [];
  return (
    <span>
      <b>{name}</b>{' '}
      <span className="ec-muted">
        group, <SumText sockets={sockets} />
      </span>
    </span>
  );
}

function NodeText({ name }: { name: string }): JSX.Element {
  const text = useNodeText(useStore(), nodes => {
    const node = nodes.find(one => one.name === name);
    return node ? `${nodeState(node)}, ${usage(node)} CPUs${node.error ? `: ${node.error}` : ''}` : '';
  });
  return (
    <span title={text}>
      <b>{name}</b> <span className="ec-muted">node, {text}</span>
    </span>
  );
}

function SocketText({ name, graph }: { name: string; graph: Graph }): JSX.Element {
  const store = useStore();
  const counts = useCounts(store, name);
  const socket = graph.sockets[name]!;
  const state = stateOf(socket, counts, !!graph.processors[socket.processor]?.paused);
  return (
    <span>
      <b>{name}</b>{' '}
      <span className={`ec-state ec-is-${state}`} title={counts.aside ?? undefined}>
        <Icon name={state} />
        {stateText(state)}
      </span>{' '}
      <span className="ec-muted ec-number">
        {(counts.asked ?? 0) > 0 && `${short(counts.asked ?? 0)} wait for a person `}
        {(counts.delayed ?? 0) > 0 && `${short(counts.delayed ?? 0)} wait for their time `}
        {counts.queued > 0 && `${short(counts.queued)} queued `}
        {counts.failed > 0 && `${short(counts.failed)} failed `}
        {counts.running > 0 && counts.progress && progressText(counts.progress)}
      </span>
    </span>
  );
}

function ArgumentText({ socket, argument, graph }: { socket: string; argument: string; graph: Graph }): JSX.Element {
  const store = useStore();
  const arrived = waitingAt(useCounts(store, socket), argument);
  const port = ports(graph.sockets[socket]!).find(one => one.name === argument);
  return (
    <span>
      {argument} <code className="ec-type">{port?.annotation}</code>{' '}
      {arrived > 0 && <span className="ec-waits">{short(arrived)} waiting</span>}
    </span>
  );
}

function PlugText({ plug }: { plug: Plug }): JSX.Element {
  const store = useStore();
  const depth = useDepth(store, [plug.id]);
  const options = [plug.pick, plug.map && 'map', plug.gather && 'gather', plug.on === 'error' && 'on error', plug.when && 'when'];
  return (
    <span>
      {plug.source} → {plug.target}.{plug.argument}{' '}
      <span className="ec-muted">{[...options, depth && `${short(depth)} on the way`].filter(Boolean).join(', ')}</span>
    </span>
  );
}
