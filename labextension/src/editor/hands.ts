/** What a hand does to the picture: cards moved and dropped, plugs drawn, the picture itself moved and zoomed. */

import { applyEdgeChanges, type Connection, type FinalConnectionState, type NodeChange } from '@xyflow/react';
import type { ReactFlowInstance, ReactFlowProps } from '@xyflow/react';
import { useMemo, type Dispatch, type SetStateAction } from 'react';
import { menu, offer } from './canvasMenu';
import { edit } from './edits';
import { canvasKey, placeAt } from './keys';
import { dropped, droppedOnCard, portOf } from './plugging';
import { CARD, cardId, processorAt, moved, sceneNodes, type PlugEdge, type SceneNode } from './scene';
import type { Detail, Store } from './store';
import { keyOf, verdict } from './wiring';

type Flow = ReactFlowInstance<SceneNode, PlugEdge>;
type Hands = Partial<ReactFlowProps<SceneNode, PlugEdge>>;
/** Below it text grows against the zoom, and there is less of it. */
const MIDDLE = 0.95;
/** Below it a card's rows cannot be read, and only cost time. */
export const FAR = 0.45;
/** Below it neither can its name. */
const TINY = 0.1;

function detailAt(zoom: number): Detail {
  if (zoom >= FAR) return zoom < MIDDLE ? 'middle' : 'near';
  return zoom < TINY ? 'tiny' : 'far';
}

/**
 * The same functions for as long as the picture is there: React Flow tells every card and plug of each that is another
 * one, in each frame of a drag.
 */
export function useHands(
  store: Store,
  flow: Flow,
  setNodes: Dispatch<SetStateAction<SceneNode[]>>,
  setChosen: (plugs: ReadonlySet<string>) => void
): Hands {
  return useMemo(
    () => ({
      ...chosen(store, flow, setNodes, setChosen),
      ...dragged(store, flow, setNodes),
      ...plugged(store, flow),
      ...looked(store, flow)
    }),
    [store, flow, setNodes, setChosen]
  );
}

function chosen(
  store: Store,
  flow: Flow,
  setNodes: Dispatch<SetStateAction<SceneNode[]>>,
  setChosen: (plugs: ReadonlySet<string>) => void
): Hands {
  return {
    onNodesChange: changes => setNodes(before => afterChanges(before, changes)),
    onEdgesChange: changes => {
      const selected = applyEdgeChanges(changes, flow.getEdges()).filter(edge => edge.selected);
      setChosen(new Set(selected.map(edge => edge.id)));
    },
    onEdgeClick: (event, edge) => {
      if (!event.shiftKey && edge.data?.plug) store.set({ panel: { kind: 'plug', key: keyOf(edge.data.plug) } });
    },
    onPaneClick: () => store.set({ plugging: null, refusal: null })
  };
}

function dragged(store: Store, flow: Flow, setNodes: Dispatch<SetStateAction<SceneNode[]>>): Hands {
  const putBack = () => {
    const { graph } = store;
    if (graph) setNodes(before => sceneNodes(graph, store.view.folded, before));
  };
  return {
    onNodeDragStart: () => store.take(),
    onNodeDrag: (event, _node, cards) => store.setDrop(under(store, flow, event, cards), cards.flatMap(socketsOf)),
    onNodeDragStop: (event, _node, cards) => {
      store.setDrop(null);
      if (!store.letGo()) return putBack();
      void place(store, flow, cards, under(store, flow, event, cards)).then(placed => placed || putBack());
    }
  };
}

function plugged(store: Store, flow: Flow): Hands {
  return {
    onConnectStart: () => {
      store.take();
      store.set({ plugging: null, refusal: null });
    },
    onConnectEnd: (event, connection) => {
      if (store.letGo()) connected(store, event, connection, (at, source) => offerAt(store, flow, at, source));
    },
    isValidConnection: connection => valid(store, connection as Connection)
  };
}

function looked(store: Store, flow: Flow): Hands {
  return {
    onMoveStart: event => {
      if (!event) return;
      store.untouched = false;
      store.hold(true);
    },
    onMoveEnd: () => store.hold(false),
    onMove: (_event, { zoom }) => zoomed(store, zoom),
    onKeyDown: event => {
      store.untouched = false;
      if (event.key === 'Enter' && event.target === event.currentTarget) offerAt(store, flow, middle(event.currentTarget));
      canvasKey(store, event);
    },
    onDoubleClick: event => {
      const at = { x: event.clientX, y: event.clientY };
      if ((event.target as HTMLElement).matches('.react-flow__pane')) offerAt(store, flow, at);
    },
    onContextMenu: event => menu(store, event, at => offerAt(store, flow, at)),
    onPointerDownCapture: event => {
      store.untouched = false;
      focusUnder(event.target as HTMLElement);
    }
  };
}

function offerAt(store: Store, flow: Flow, at: { x: number; y: number }, source: string | null = null): void {
  const { graph } = store;
  const over = graph && processorAt(flow.getNodes(), graph, flow.screenToFlowPosition(at), []);
  // outside every frame what is fed stays with what feeds it: else the frame of main would grow over others
  const processor = over ?? (source === null ? null : (graph?.sockets[source]?.processor ?? null));
  offer(store, at, flow.screenToFlowPosition(inSight(store, at, flow.getZoom())), processor, source);
}

/** As far from the edges of the picture that a new card there is seen whole. */
function inSight(store: Store, { x, y }: { x: number; y: number }, zoom: number): { x: number; y: number } {
  const box = store.box?.querySelector('.ec-canvas')?.getBoundingClientRect();
  if (!box) return { x, y };
  const [right, bottom] = [
    box.right - (CARD.width + 40) * zoom,
    box.bottom - (CARD.head + CARD.row + CARD.value + CARD.foot + 40) * zoom
  ];
  return { x: Math.max(box.left, Math.min(x, right)), y: Math.max(box.top, Math.min(y, bottom)) };
}

/** What is to be read keeps its size on screen, in steps: else each frame of a zoom would lay out every card anew. */
function zoomed(store: Store, zoom: number): void {
  const detail = detailAt(zoom);
  if (detail !== store.view.detail) store.set({ detail });
  const step = Math.max(0.02, Math.floor(zoom * 50) / 50).toFixed(2);
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
function under(store: Store, flow: Flow, event: MouseEvent | TouchEvent, dragged: SceneNode[]): string | null {
  const names = dragged.flatMap(node => (node.type === 'socket' ? [node.data.socket] : []));
  // a processor that is dragged takes its cards along, and nothing moves out of it
  if (!store.graph || !names.length || names.length < dragged.length) return null;
  const { clientX: x, clientY: y } = pointer(event);
  return processorAt(flow.getNodes(), store.graph, flow.screenToFlowPosition({ x, y }), names);
}

/** Sends where cards lie now, and the processor they were dropped on; false where that was refused. */
async function place(store: Store, flow: Flow, dragged: SceneNode[], processor: string | null): Promise<boolean> {
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
  if (!names.size) return !notes.length || !!(await edit(store, notes, 'moved a note'));
  const leaving = [...names].filter(name => processor !== null && store.graph?.sockets[name]?.processor !== processor);
  const changes = [...notes, { op: 'position', positions }, ...leaving.map(socket => ({ op: 'move', socket, processor }))];
  const said = leaving.length ? `${leaving.join(', ')} on processor ${processor} now` : `moved ${[...names].join(', ')}`;
  return !!(await edit(store, changes, said));
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
  { fromNode, fromHandle, toNode, toHandle }: FinalConnectionState,
  offerAt: (at: { x: number; y: number }, source: string) => void
): void {
  const source = fromNode?.data['socket'] as string | undefined;
  if (source === undefined || !fromHandle) return;
  const from = portOf(source, fromHandle.id ?? '');
  const { clientX: x, clientY: y } = pointer(event);
  const socket = toNode?.data['socket'] as string | undefined;
  if (toHandle) return void (socket !== undefined && dropped(store, from, portOf(socket, toHandle.id ?? ''), { x, y }));
  const card = document.elementFromPoint(x, y)?.closest('[data-place^="s:"]');
  const place = card && placeAt(card);
  if (place?.kind === 'socket') droppedOnCard(store, from, place.socket, { x, y });
  else if (from.argument === null) offerAt({ x, y }, source);
}

function valid(store: Store, { source, target, targetHandle }: Connection): boolean {
  const at = targetHandle?.startsWith('in:') ? targetHandle.slice(3) : null;
  if (at === null || !store.graph) return false;
  return verdict(store.graph, source.slice(2), target.slice(2), at).ok;
}
