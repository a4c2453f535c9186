/** The picture itself: React Flow with our cards, moved, plugged and walked. */

import {
  applyEdgeChanges,
  ReactFlow,
  SelectionMode,
  useReactFlow,
  type Connection,
  type FinalConnectionState,
  type FitViewOptions,
  type NodeChange,
  type ReactFlowInstance
} from '@xyflow/react';
import { useCallback, useEffect, useMemo, useRef, useState, type JSX } from 'react';
import { menu, offer } from './canvasMenu';
import { useStore } from './context';
import { edit } from './edits';
import { BEADS } from './motion';
import { NoteCard } from './NoteCard';
import { PlugLine } from './PlugLine';
import { dropped } from './plugging';
import { ProcessorGroup } from './ProcessorGroup';
import { cardId, groupAt, groupId, moved, noteId, sceneEdges, sceneNodes, type PlugEdge, type SceneNode } from './scene';
import { SocketCard } from './SocketCard';
import { useGraph, useLife, useView, type Panel, type Store } from './store';
import { canvasKey } from './keys';
import { keyOf, placeId, verdict, type Place } from './wiring';

const NODE_TYPES = { socket: SocketCard, processor: ProcessorGroup, note: NoteCard };
const EDGE_TYPES = { plug: PlugLine };
/** All of the picture, under what is wrong. */
function fitted(store: Store): FitViewOptions<SceneNode> {
  const banner = store.box?.querySelector<HTMLElement>('.ec-banner')?.offsetHeight ?? 0;
  return { padding: { x: 0.06, bottom: 0.06, top: banner ? `${banner + 14}px` : 0.06 }, maxZoom: 1 };
}
/** Below it a card's rows cannot be read, and only cost time. */
const FAR = 0.45;
/** Below it text grows against the zoom, and there is less of it. */
const MIDDLE = 0.95;
/** Above it, what is out of sight is not drawn. */
const MANY = 150;

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
  const edges = useMemo(() => (graph ? sceneEdges(graph, folded, pending, chosen) : []), [graph, folded, pending, chosen]);
  useSelection(store, nodes, chosen);
  useGoTo(store, flow, wrapper);
  useBeside(flow, wrapper);
  useFollow(store, nodes, flow, wrapper);
  useRefit(store, wrapper, flow);
  useEngaged(wrapper, setEngaged);

  const onNodesChange = useCallback((changes: NodeChange<SceneNode>[]) => setNodes(before => afterChanges(before, changes)), []);
  const live = life !== 'static';
  const offerAt = (at: { x: number; y: number }, source: string | null = null) => {
    const spot = flow.screenToFlowPosition(at);
    offer(store, at, spot, graph && groupAt(flow.getNodes(), graph, spot, []), source);
  };
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
      onNodesChange={onNodesChange}
      onEdgesChange={changes => {
        const selected = applyEdgeChanges(changes, edges).filter(edge => edge.selected);
        setChosen(new Set(selected.map(edge => edge.id)));
      }}
      onEdgeClick={(event, edge) => {
        if (!event.shiftKey && edge.data?.plug) store.set({ panel: { kind: 'plug', key: keyOf(edge.data.plug) } });
      }}
      onNodeDrag={(event, _node, dragged) => store.setDrop(under(store, flow, event, dragged), dragged.flatMap(socketsOf))}
      onNodeDragStart={() => store.hold(true)}
      onNodeDragStop={(event, _node, dragged) => {
        store.hold(false);
        store.setDrop(null);
        void place(store, flow, dragged, under(store, flow, event, dragged));
      }}
      onConnectStart={() => store.set({ plugging: null, refusal: null })}
      onConnectEnd={(event, connection) => connected(store, event, connection, offerAt)}
      isValidConnection={connection => valid(store, connection as Connection)}
      onPaneClick={() => store.set({ plugging: null, refusal: null })}
      onMoveStart={event => {
        if (!event) return;
        store.untouched = false;
        store.hold(true);
      }}
      onMoveEnd={() => store.hold(false)}
      onMove={(_event, { zoom }) => {
        zoomed(store, zoom);
      }}
      onKeyDown={event => {
        store.untouched = false;
        if (event.key === 'Enter' && event.target === event.currentTarget) offerAt(middle(event.currentTarget));
        canvasKey(store, event);
      }}
      onDoubleClick={event => {
        if ((event.target as HTMLElement).matches('.react-flow__pane')) offerAt({ x: event.clientX, y: event.clientY });
      }}
      onContextMenu={event => menu(store, event, offerAt)}
      onPointerDownCapture={event => {
        store.untouched = false;
        focusUnder(event.target as HTMLElement);
      }}
      defaultMarkerColor={null}
      nodesConnectable={live}
      nodesDraggable={live}
      nodesFocusable={false}
      edgesFocusable={false}
      disableKeyboardA11y
      connectOnClick={false}
      // at its edge the picture would run away from under a card that only just was taken up
      autoPanOnNodeDrag={false}
      autoPanSpeed={6}
      connectionRadius={24}
      elevateNodesOnSelect={false}
      selectNodesOnDrag={false}
      selectionMode={SelectionMode.Full}
      deleteKeyCode={null}
      selectionKeyCode="Shift"
      multiSelectionKeyCode={['Shift', 'Meta', 'Control']}
      panActivationKeyCode={null}
      zoomOnScroll={engaged}
      preventScrolling={engaged}
      zoomOnDoubleClick={false}
      minZoom={0.02}
      maxZoom={2}
      onlyRenderVisibleElements={nodes.length > MANY}
    />
  );
}

/** What is to be read keeps its size on screen, in steps: else each frame of a zoom would lay out every card anew. */
function zoomed(store: Store, zoom: number): void {
  const [far, middle] = [zoom < FAR, zoom >= FAR && zoom < MIDDLE];
  if (far !== store.view.far || middle !== store.view.middle) store.set({ far, middle });
  const step = Math.max(0.02, Math.floor(zoom * 20) / 20).toFixed(2);
  if (store.box?.style.getPropertyValue('--ec-zoom') !== step) store.box?.style.setProperty('--ec-zoom', step);
}

function afterChanges(before: SceneNode[], changes: NodeChange<SceneNode>[]): SceneNode[] {
  const places = new Map<string, { x: number; y: number }>();
  const records = new Map<string, Partial<SceneNode>>();
  for (const change of changes) {
    if (change.type === 'position') {
      if (change.position) places.set(change.id, change.position);
      records.set(change.id, { ...records.get(change.id), dragging: !!change.dragging });
    } else if (change.type === 'select') {
      records.set(change.id, { ...records.get(change.id), selected: change.selected });
    }
  }
  if (!places.size && !records.size) return before;
  const changed = before.map(node => (records.has(node.id) ? ({ ...node, ...records.get(node.id) } as SceneNode) : node));
  return places.size ? moved(changed, places) : changed;
}

/** Dragging keeps a click from giving the focus; without it Delete and the arrow keys would go elsewhere. */
function focusUnder(target: HTMLElement): void {
  if (target.closest('button, input')) return;
  target.closest<HTMLElement>('[data-place]')?.focus({ preventScroll: true });
}

/** The processor that cards in the hand would move to if they were let go here. */
function under(
  store: Store,
  flow: ReactFlowInstance<SceneNode, PlugEdge>,
  event: MouseEvent | TouchEvent,
  dragged: SceneNode[]
): string | null {
  const names = dragged.flatMap(node => (node.type === 'socket' ? [node.data.socket] : []));
  // a processor that is dragged takes its cards along, and nothing moves out of it
  if (!store.graph || !names.length || names.length < dragged.length) return null;
  const { clientX: x, clientY: y } = pointer(event);
  return groupAt(flow.getNodes(), store.graph, flow.screenToFlowPosition({ x, y }), names);
}

/** Sends where cards lie now, and the processor they were dropped on; a refusal puts them back. */
async function place(
  store: Store,
  flow: ReactFlowInstance<SceneNode, PlugEdge>,
  dragged: SceneNode[],
  processor: string | null
): Promise<void> {
  const names = new Set(dragged.flatMap(socketsOf));
  const positions = Object.fromEntries(
    [...names].map(name => {
      const { x, y } = flow.getNode(cardId(name))!.position;
      return [name, [Math.round(x), Math.round(y)]];
    })
  );
  const notes = dragged
    .filter(node => node.type === 'note')
    .map(({ data, position: { x, y } }) => {
      return { op: 'note', id: data.note.id, place: [Math.round(x), Math.round(y)] };
    });
  if (!names.size) return void (notes.length && edit(store, notes, 'moved a note'));
  const leaving = [...names].filter(name => processor !== null && store.graph?.sockets[name]?.processor !== processor);
  const changes = [...notes, { op: 'position', positions }, ...leaving.map(socket => ({ op: 'move', socket, processor }))];
  const said = leaving.length ? `${leaving.join(', ')} on processor ${processor} now` : `moved ${[...names].join(', ')}`;
  const answer = await edit(store, changes, said);
  const { graph } = store;
  if (!answer && graph) flow.setNodes(before => sceneNodes(graph, store.view.folded, before));
}

function socketsOf(node: SceneNode): string[] {
  if (node.type === 'note') return [];
  return node.type === 'socket' ? [node.data.socket] : node.data.sockets;
}

const pointer = (event: MouseEvent | TouchEvent) => ('changedTouches' in event ? event.changedTouches[0]! : event);

function middle(box: HTMLElement): { x: number; y: number } {
  const { left, top, width, height } = box.getBoundingClientRect();
  return { x: left + width / 2, y: top + height / 3 };
}

function connected(
  store: Store,
  event: MouseEvent | TouchEvent,
  connection: FinalConnectionState,
  offerAt: (at: { x: number; y: number }, source: string | null) => void
): void {
  const source = connection.fromNode?.data['socket'] as string | undefined;
  const { toNode, toHandle, fromHandle } = connection;
  if (source === undefined || !fromHandle) return;
  const { clientX: x, clientY: y } = pointer(event);
  const socket = toNode?.data['socket'] as string | undefined;
  if (toNode === null && fromHandle.type === 'source') return offerAt({ x, y }, source);
  if (socket === undefined || !toHandle?.id) return;
  // dragged from the argument to the output, it is the same plug
  if (fromHandle.type === 'target') dropped(store, socket, { socket: source, handle: fromHandle.id ?? '' }, { x, y });
  else dropped(store, source, { socket, handle: toHandle.id }, { x, y });
}

function valid(store: Store, { source, target, targetHandle }: Connection): boolean {
  const at = targetHandle?.startsWith('in:') ? targetHandle.slice(3) : null;
  if (at === null || !store.graph) return false;
  return verdict(store.graph, source.slice(2), target.slice(2), at).ok;
}

function useSelection(store: Store, nodes: SceneNode[], plugs: ReadonlySet<string>): void {
  const sockets = nodes.filter(node => node.selected && node.type === 'socket').map(node => node.id.slice(2));
  const key = JSON.stringify([sockets, [...plugs]]);
  useEffect(() => {
    const [of, chosen] = JSON.parse(key) as [string[], string[]];
    store.set({ selected: { sockets: of, plugs: chosen } });
  }, [store, key]);
}

function nodeId(to: Exclude<Place, { kind: 'node' }>): string | null {
  if (to.kind === 'processor') return groupId(to.processor);
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
  if (panel.kind === 'processor') return groupId(panel.processor);
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

function unfoldFor(store: Store, socket: string): void {
  const folded = new Set(store.view.folded);
  folded.delete(store.graph?.sockets[socket]?.processor ?? '');
  store.set({ folded });
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
