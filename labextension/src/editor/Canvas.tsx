/** The picture itself: React Flow with our cards, moved, plugged and walked. */

import {
  ReactFlow,
  SelectionMode,
  useReactFlow,
  type FitViewOptions,
  type ReactFlowInstance,
  type ReactFlowProps
} from '@xyflow/react';
import { useEffect, useMemo, useRef, useState, type JSX } from 'react';
import { useStore } from './context';
import { FAR, useHands } from './hands';
import { labelled, labelParts } from './labels';
import { BEADS } from './motion';
import { NoteCard } from './NoteCard';
import { PlugLine } from './PlugLine';
import { groupId, processorId } from './frames';
import { GroupFrame } from './GroupFrame';
import { unfoldFor } from './groups';
import { ProcessorFrame } from './ProcessorFrame';
import { cardId, noteId, raised, sceneEdges, sceneNodes, type PlugEdge, type SceneNode } from './scene';
import { SocketCard } from './SocketCard';
import { isFar, useGraph, useLife, useView, type Panel, type Store } from './store';
import type { Graph } from './types';
import { placeId, type Place } from './wiring';

const NODE_TYPES = { socket: SocketCard, processor: ProcessorFrame, group: GroupFrame, note: NoteCard };
const EDGE_TYPES = { plug: PlugLine };

/** All of the picture, under what is wrong. */
function fitted(store: Store): FitViewOptions<SceneNode> {
  const banner = store.box?.querySelector<HTMLElement>('.ec-banner')?.offsetHeight ?? 0;
  return { padding: { x: 0.06, bottom: 0.06, top: banner ? `${banner + 14}px` : 0.06 }, maxZoom: 1 };
}

/** Above it, what is out of sight is not drawn. */
const MANY = 150;
const FIXED: Partial<ReactFlowProps<SceneNode, PlugEdge>> = {
  defaultMarkerColor: null,
  nodesFocusable: false,
  edgesFocusable: false,
  disableKeyboardA11y: true,
  connectOnClick: false,
  // at its edge the picture would run away from under a card that only just was taken up
  autoPanOnNodeDrag: false,
  autoPanSpeed: 6,
  connectionRadius: 24,
  elevateNodesOnSelect: false,
  selectNodesOnDrag: false,
  selectionMode: SelectionMode.Full,
  deleteKeyCode: null,
  selectionKeyCode: 'Shift',
  multiSelectionKeyCode: ['Shift', 'Meta', 'Control'],
  panActivationKeyCode: null,
  zoomOnDoubleClick: false,
  minZoom: 0.02,
  maxZoom: 2
};

export function Canvas(): JSX.Element {
  const store = useStore();
  const graph = useGraph(store, known => known);
  const folded = useView(store, view => view.folded);
  const pending = useView(store, view => view.pending);
  const life = useLife(store);
  const [nodes, setNodes] = useState<SceneNode[]>([]);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [engaged, setEngaged] = useState(false);
  const flow = useReactFlow<SceneNode, PlugEdge>();
  const wrapper = useRef<HTMLDivElement>(null);

  useEffect(() => {
    if (graph) setNodes(before => sceneNodes(graph, folded, before));
  }, [graph, folded]);
  const far = useView(store, isFar);
  // from afar there are none; what is in the hand carries its labels where they were
  const labels = useMemo(() => (graph && !far ? partsOf(graph, folded) : NO_LABELS), [graph, folded, far]);
  const lying = useMemo(
    () => (graph ? labelled(sceneEdges(graph, folded, pending, chosen), labels) : []),
    [graph, folded, pending, chosen, labels]
  );
  const hand = nodes.flatMap(node => (node.dragging ? node.id : [])).join('\n');
  const edges = useMemo(() => raised(lying, hand.split('\n')), [lying, hand]);
  useSelection(store, nodes, chosen);
  useGoTo(store, flow, wrapper);
  useBeside(flow, wrapper);
  useFollow(store, nodes, flow, wrapper);
  useRefit(store, wrapper, flow);
  useEngaged(wrapper, setEngaged);
  const hands = useHands(store, flow, setNodes, setChosen);
  const live = life !== 'static';
  return (
    <ReactFlow<SceneNode, PlugEdge>
      ref={wrapper}
      className={edges.length > BEADS ? 'ec-canvas ec-crowded' : 'ec-canvas'}
      tabIndex={0}
      aria-label={`Picture of flow ${graph?.flow ?? ''}: arrow keys walk sockets and ports, Enter acts`}
      data-place="canvas"
      nodes={nodes}
      edges={edges}
      nodeTypes={NODE_TYPES}
      edgeTypes={EDGE_TYPES}
      {...FIXED}
      {...hands}
      nodesConnectable={live}
      nodesDraggable={live}
      zoomOnScroll={engaged}
      preventScrolling={engaged}
      onlyRenderVisibleElements={nodes.length > MANY}
    />
  );
}

const NO_LABELS: ReadonlyMap<string, number> = new Map();
const partsOf = (graph: Graph, folded: ReadonlySet<string>) =>
  labelParts(sceneEdges(graph, folded, [], new Set()), sceneNodes(graph, folded, []));

function useSelection(store: Store, nodes: SceneNode[], plugs: ReadonlySet<string>): void {
  const sockets = nodes.filter(node => node.selected && node.type === 'socket').map(node => node.id.slice(2));
  const key = JSON.stringify([sockets, [...plugs]]);
  useEffect(() => {
    const [of, chosen] = JSON.parse(key) as [string[], string[]];
    store.set({ selected: { sockets: of, plugs: chosen } });
  }, [store, key]);
}

function nodeId(to: Exclude<Place, { kind: 'node' }>): string | null {
  if (to.kind === 'processor') return processorId(to.processor);
  if (to.kind === 'group') return groupId(to.group);
  if (to.kind === 'note') return noteId(to.note);
  return to.kind === 'plug' ? null : cardId(to.socket);
}

/** Lets the rest of the editor bring a place into sight and focus it. */
function useGoTo(
  store: Store,
  flow: ReactFlowInstance<SceneNode, PlugEdge>,
  wrapper: React.RefObject<HTMLDivElement | null>
): void {
  useEffect(() => {
    store.fitAll = () => void requestAnimationFrame(() => void flow.fitView(fitted(store)));
    store.goTo = (to: Place) => {
      if (to.kind === 'node') return store.set({ panel: to });
      const id = nodeId(to);
      const node = id === null ? undefined : flow.getNode(id);
      if (!node) return;
      if (node.hidden && node.type === 'socket') unfoldFor(store, node.data.socket);
      if (node.hidden && node.type === 'group') unfoldFor(store, node.data.sockets[0]!, id!);
      if (flow.getZoom() < FAR || !insight(flow, wrapper.current, node)) {
        store.untouched = false;
        centre(flow, node, Math.max(flow.getZoom(), 0.6));
      }
      focusSoon(wrapper, placeId(to), 10);
    };
  }, [store, flow, wrapper]);
}

/** What a panel is about, as the picture draws it. */
function aboutOf(panel: Panel): string | null {
  if (panel.kind === 'plug') return cardId((JSON.parse(panel.key) as string[])[1]!);
  if (panel.kind === 'processor') return processorId(panel.processor);
  if ('group' in panel) return groupId(panel.group);
  const socket = panel.kind === 'metrics' && panel.of === 'socket' ? panel.name : 'socket' in panel ? panel.socket : null;
  return socket === null ? null : cardId(socket);
}

/** How far what begins at `from` has to move to be seen, with a margin; its beginning stays in sight. */
function hiddenPart(from: number, size: number, room: number): number {
  return Math.max(0, Math.min(from + size + 16 - room, from - 16));
}

/** A panel takes room from the picture: what it is about must not be what it hides. */
function useBeside(flow: ReactFlowInstance<SceneNode, PlugEdge>, wrapper: React.RefObject<HTMLDivElement | null>): void {
  const about = useView(useStore(), ({ panel }) => panel && aboutOf(panel));
  useEffect(() => {
    const show = () => {
      const node = about === null ? undefined : flow.getNode(about);
      const box = wrapper.current;
      if (!node || !box) return;
      const { x, y, zoom } = flow.getViewport();
      const left = hiddenPart(node.position.x * zoom + x, node.width! * zoom, box.clientWidth);
      const up = hiddenPart(node.position.y * zoom + y, node.height! * zoom, box.clientHeight);
      if (left || up) void flow.setViewport({ x: x - left, y: y - up, zoom });
    };
    // the map, which appears for want of room, takes some more of it
    const observer = new ResizeObserver(() => requestAnimationFrame(show));
    observer.observe(wrapper.current!);
    return () => observer.disconnect();
  }, [about, flow, wrapper]);
}

function insight(flow: ReactFlowInstance<SceneNode, PlugEdge>, box: HTMLElement | null, node: SceneNode): boolean {
  if (!box) return false;
  const { x, y, zoom } = flow.getViewport();
  const [left, top] = [node.position.x * zoom + x, node.position.y * zoom + y];
  return left >= 0 && top >= 0 && left + node.width! * zoom <= box.clientWidth && top + 60 * zoom <= box.clientHeight;
}

function centre(flow: ReactFlowInstance<SceneNode, PlugEdge>, { position, width, height }: SceneNode, zoom: number): void {
  void flow.setCenter(position.x + width! / 2, position.y + height! / 2, { zoom });
}

/** The first lay-out is shown whole. A card made later is brought into sight if it is not; nothing else moves the view. */
function useFollow(
  store: Store,
  nodes: SceneNode[],
  flow: ReactFlowInstance<SceneNode, PlugEdge>,
  wrapper: React.RefObject<HTMLDivElement | null>
): void {
  const known = useRef<ReadonlySet<string>>(new Set());
  useEffect(() => {
    const cards = nodes.filter(node => node.type === 'socket');
    const fresh = cards.filter(node => !known.current.has(node.id) && !node.hidden);
    const first = known.current.size === 0;
    known.current = new Set(cards.map(node => node.id));
    if (!fresh.length) return;
    requestAnimationFrame(() => {
      const hidden = fresh.find(node => !insight(flow, wrapper.current, node));
      if (first || (hidden && store.untouched)) void flow.fitView(fitted(store));
      else if (hidden) centre(flow, hidden, flow.getZoom());
    });
  }, [store, nodes, flow, wrapper]);
}

/** A card that was out of sight is drawn some frames after the picture moved. */
function focusSoon(wrapper: React.RefObject<HTMLElement | null>, id: string, tries: number): void {
  const found = wrapper.current?.querySelector<HTMLElement>(`[data-place="${CSS.escape(id)}"]`);
  if (found) found.focus({ preventScroll: true });
  else if (tries) requestAnimationFrame(() => focusSoon(wrapper, id, tries - 1));
}

/** Whether all cards are inside so much room. */
function whole(flow: ReactFlowInstance<SceneNode, PlugEdge>, { width: wide, height: high }: DOMRectReadOnly): boolean {
  const at = flow.getViewport();
  const { x, y, width, height } = flow.getNodesBounds(flow.getNodes().filter(node => !node.hidden));
  const [left, top] = [x * at.zoom + at.x, y * at.zoom + at.y];
  return left >= 0 && top >= 0 && left + width * at.zoom <= wide && top + height * at.zoom <= high;
}

/** Fits the picture anew where it gets more or less room, as long as all of it was seen and nobody has moved it since. */
function useRefit(
  store: Store,
  wrapper: React.RefObject<HTMLDivElement | null>,
  flow: ReactFlowInstance<SceneNode, PlugEdge>
): void {
  useEffect(() => {
    let before: DOMRectReadOnly | null = null;
    let ours = '';
    const place = () => JSON.stringify(flow.getViewport());
    const fit = async () => {
      await flow.fitView(fitted(store));
      ours = place();
    };
    const observer = new ResizeObserver(([entry]) => {
      const room = entry!.contentRect;
      const was = before && whole(flow, before);
      before = room;
      const { untouched } = store;
      // not where somebody has taken it in hand before the next frame
      const soon = () => untouched === store.untouched && void fit();
      if (untouched || (was && (ours === place() || !whole(flow, room)))) requestAnimationFrame(soon);
    });
    observer.observe(wrapper.current!);
    return () => observer.disconnect();
  }, [store, wrapper, flow]);
}

/** The wheel zooms only after a click into the picture: else nobody could scroll a notebook past it. */
function useEngaged(wrapper: React.RefObject<HTMLDivElement | null>, set: (engaged: boolean) => void): void {
  useEffect(() => {
    const pressed = (event: PointerEvent) => set(!!wrapper.current?.contains(event.target as Node));
    const left = () => set(false);
    const box = wrapper.current!;
    document.addEventListener('pointerdown', pressed, true);
    box.addEventListener('pointerleave', left);
    return () => {
      document.removeEventListener('pointerdown', pressed, true);
      box.removeEventListener('pointerleave', left);
    };
  }, [wrapper, set]);
}
