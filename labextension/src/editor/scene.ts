/** From a wiring to React Flow's nodes and edges: where cards, processors and plugs lie. Pure. */

import { MarkerType, Position, type Edge, type Node, type NodeHandle } from '@xyflow/react';
import { foldedInto, groupId, groupsOf, processorId, processorOf } from './frames';
import type { Graph, Note, Plug, Socket } from './types';
import { keyOf, plugName, ports, type Ends } from './wiring';

// as Python's layout has it: a card's head and foot, its rows, and the room around what is in a processor or a group
export const CARD = { width: 232, head: 48, row: 24, value: 76, foot: 28 };
export const NOTE = { width: 220, line: 16, characters: 34 };
export const FRAME = { processor: { side: 20, top: 48 }, group: { side: 12, top: 38 } };
const EMPTY = { width: 272, height: 88 };
const FOLDED = { width: 232, height: 88 };
const GRIP = 12;

export type CardNode = Node<{ socket: string }, 'socket'>;
/** `inside` is the frame that all of it is in, if there is one. */
export type FrameNode = Node<{ name: string; folded: boolean; sockets: string[]; inside: string | null }, 'processor' | 'group'>;
export type NoteNode = Node<{ note: Note }, 'note'>;
export type SceneNode = CardNode | FrameNode | NoteNode;
/** `plugs` are the numbers of the plugs it stands for; one, unless what it leads to or from is folded. */
/** `at`: on which part of its length its label stands, if not in its middle. */
export type PlugEdge = Edge<{ plugs: number[]; plug: Plug | null; pending: boolean; at?: number }, 'plug'>;

export const cardId = (socket: string): string => `s:${socket}`;
export const noteId = (note: number): string => `n:${note}`;
const isFrame = (node: SceneNode): node is FrameNode => node.type === 'processor' || node.type === 'group';

export function cardHeight(socket: Socket): number {
  return CARD.head + CARD.value + CARD.foot + CARD.row * Math.max(1, ports(socket).length);
}

function handle(id: string, type: 'source' | 'target', x: number, y: number): NodeHandle {
  const position = type === 'source' ? Position.Right : Position.Left;
  return { id, type, position, x: x - GRIP / 2, y: y - GRIP / 2, width: GRIP, height: GRIP };
}

// known beforehand, so that plugs are drawn at once, also to cards out of sight
export function cardHandles(socket: Socket): NodeHandle[] {
  const into = ports(socket).map((port, at) => handle(`in:${port.name}`, 'target', 0, CARD.head + CARD.row * (at + 0.5)));
  return [handle('out', 'source', CARD.width, 14), ...into];
}

interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** The processor whose frame, without the cards in the hand, holds a point; null where that is their own, or none. */
export function processorAt(nodes: SceneNode[], graph: Graph, { x, y }: { x: number; y: number }, held: string[]): string | null {
  const own = new Set(held.map(name => graph.sockets[name]?.processor));
  const still = indexed(nodes.filter(node => node.type !== 'socket' || !held.includes(node.data.socket)));
  const holds = (frame: FrameNode) => {
    const known = { ...frame.position, width: frame.width!, height: frame.height! };
    const rect = frame.data.folded || !frame.data.sockets.length ? known : around(frame, partsOf(frame, still));
    return rect && x >= rect.x && y >= rect.y && x <= rect.x + rect.width && y <= rect.y + rect.height;
  };
  const over = nodes.filter(node => node.type === 'processor' && holds(node)).map(node => (node as FrameNode).data.name);
  return over.some(name => own.has(name)) ? null : (over[0] ?? null);
}

interface Index {
  cards: Map<string, CardNode>;
  groups: FrameNode[];
}

function indexed(nodes: SceneNode[]): Index {
  const cards = nodes.flatMap(node => (node.type === 'socket' ? [[node.data.socket, node] as const] : []));
  return { cards: new Map(cards), groups: nodes.filter((node): node is FrameNode => node.type === 'group') };
}

/** What a frame is around: cards that are drawn by themselves, and groups that are whole in it. Folded, it lies where they are. */
function partsOf({ id, type, data }: FrameNode, { cards: known, groups }: Index): SceneNode[] {
  const inner = type === 'group' ? [] : groups.filter(group => group.data.inside === id);
  const apart = new Set(inner.flatMap(group => group.data.sockets));
  const cards = data.sockets.flatMap(name => (apart.has(name) ? [] : (known.get(name) ?? [])));
  const drawn = cards.filter(card => !card.hidden);
  return [...inner, ...(drawn.length && !data.folded ? drawn : cards)];
}

function around({ type }: FrameNode, parts: SceneNode[]): Rect | null {
  if (!parts.length) return null;
  const { side, top: head } = FRAME[type!];
  const left = Math.min(...parts.map(part => part.position.x));
  const top = Math.min(...parts.map(part => part.position.y));
  const right = Math.max(...parts.map(part => part.position.x + part.width!));
  const bottom = Math.max(...parts.map(part => part.position.y + part.height!));
  return { x: left - side, y: top - head, width: right - left + 2 * side, height: bottom - top + head + side };
}

/** Frames where what they are around is; groups first, for processors are around those too. The same where nothing moved. */
function framed(nodes: SceneNode[]): SceneNode[] {
  const fitted = (type: string, among: SceneNode[]) => {
    const index = indexed(among);
    return among.map(node => {
      if (!isFrame(node) || node.type !== type) return node;
      const parts = partsOf(node, index);
      // what is in the hand is about to be let go elsewhere, maybe in another frame
      const still = parts.filter(part => !part.dragging);
      const rect = around(node, still.length ? still : parts);
      if (!rect) return node;
      const size = node.data.folded ? FOLDED : { width: rect.width, height: rect.height };
      const { x, y } = node.position;
      if (x === rect.x && y === rect.y && size.width === node.width && size.height === node.height) return node;
      return { ...node, position: { x: rect.x, y: rect.y }, ...size, measured: size };
    });
  };
  return fitted('processor', fitted('group', nodes));
}

/** Every node of the picture. Cards in the hand keep their place, and the selected stay selected. */
export function sceneNodes(graph: Graph, folded: ReadonlySet<string>, before: SceneNode[]): SceneNode[] {
  const into = foldedInto(graph, folded);
  const old = new Map(before.map(node => [node.id, node]));
  const cards = Object.entries(graph.sockets).map(([name, socket]): CardNode => {
    const known = old.get(cardId(name)) as CardNode | undefined;
    const [x, y] = socket.box;
    return {
      id: cardId(name),
      type: 'socket',
      data: known?.data ?? { socket: name },
      position: known?.dragging ? known.position : { x, y },
      width: CARD.width,
      height: cardHeight(socket),
      handles: cardHandles(socket),
      selected: known?.selected ?? false,
      dragging: known?.dragging ?? false,
      hidden: into.has(name),
      measured: { width: CARD.width, height: cardHeight(socket) },
      zIndex: 2
    };
  });
  return framed([...frames(graph, folded, into, cards, old), ...notes(graph, old), ...cards]);
}

function notes(graph: Graph, old: Map<string, SceneNode>): NoteNode[] {
  return (graph.notes ?? []).map((note): NoteNode => {
    const known = old.get(noteId(note.id)) as NoteNode | undefined;
    const [x, y] = note.place;
    const size = { width: NOTE.width, height: noteHeight(note.text) };
    return {
      id: noteId(note.id),
      type: 'note',
      data: known?.data.note.text === note.text ? known.data : { note },
      position: known?.dragging ? known.position : { x, y },
      ...size,
      measured: size,
      selected: known?.selected ?? false,
      dragging: known?.dragging ?? false,
      connectable: false,
      zIndex: 3
    };
  });
}

/** As the still picture has it. */
export function noteHeight(text: string): number {
  const lines = text.split('\n').reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / NOTE.characters)), 0);
  return 20 + NOTE.line * Math.min(lines, 60);
}

/** Processors, then groups: what is drawn later lies over the others. */
function frames(
  graph: Graph,
  folded: ReadonlySet<string>,
  into: Map<string, string>,
  cards: CardNode[],
  old: Map<string, SceneNode>
): FrameNode[] {
  const right = Math.max(-60, ...cards.map(card => card.position.x + CARD.width)) + 80;
  let empty = 0;
  const made = (type: 'processor' | 'group', id: string, name: string, sockets: string[], inside: string | null): FrameNode => {
    const known = old.get(id);
    const isFolded = folded.has(id) && sockets.length > 0;
    const beside = { x: right + (sockets.length ? 0 : empty++) * (EMPTY.width + 80), y: 0 };
    return {
      id,
      type,
      data: { name, folded: isFolded, sockets, inside },
      position: known?.position ?? beside,
      ...EMPTY,
      measured: EMPTY,
      handles: isFolded ? [handle('in', 'target', 0, 44), handle('out', 'source', FOLDED.width, 44)] : [],
      hidden: type === 'group' && sockets.every(name => into.has(name) && into.get(name) !== id),
      selected: known?.selected ?? false,
      dragging: known?.dragging ?? false,
      dragHandle: '.ec-group-title',
      zIndex: isFolded ? 2 : 0
    };
  };
  const own = new Map(Object.keys(graph.processors).map(name => [name, [] as string[]]));
  for (const [name, { processor }] of Object.entries(graph.sockets)) own.get(processor)?.push(name);
  return [
    ...[...own].map(([name, sockets]) => made('processor', processorId(name), name, sockets, null)),
    ...[...groupsOf(graph)].map(([name, sockets]) => {
      const processor = processorOf(graph, sockets);
      return made('group', groupId(name), name, sockets, processor === null ? null : processorId(processor));
    })
  ];
}

/** Frames take their cards along when they are dragged, and are as large as those need. */
export function moved(nodes: SceneNode[], changes: Map<string, { x: number; y: number }>): SceneNode[] {
  const shift = new Map<string, { x: number; y: number }>();
  for (const node of nodes) {
    const to = isFrame(node) && changes.get(node.id);
    if (!to || !isFrame(node)) continue;
    for (const socket of node.data.sockets) {
      shift.set(cardId(socket), { x: to.x - node.position.x, y: to.y - node.position.y });
    }
  }
  const next = nodes.map(node => {
    const [to, by] = [changes.get(node.id), shift.get(node.id)];
    // a frame follows its cards, if it has any
    if (to && !(isFrame(node) && node.data.sockets.length)) return { ...node, position: to };
    return by ? { ...node, position: { x: node.position.x + by.x, y: node.position.y + by.y } } : node;
  });
  return framed(next);
}

/** Plugs of what is in the hand are drawn by themselves, over all that lies still; the others stay who they are. */
export function raised(edges: PlugEdge[], hand: string[]): PlugEdge[] {
  const held = new Set(hand);
  return edges.map(edge =>
    held.has(edge.source) || held.has(edge.target) ? { ...edge, className: 'ec-in-hand', zIndex: 4 } : edge
  );
}

export function sceneEdges(
  graph: Graph,
  folded: ReadonlySet<string>,
  pending: Ends[],
  selected: ReadonlySet<string>
): PlugEdge[] {
  const into = foldedInto(graph, folded);
  const edges = new Map<string, PlugEdge>();
  for (const plug of graph.plugs) {
    const edge = between(graph, into, plug);
    if (!edge) continue;
    const known = edges.get(edge.id);
    // several plugs between folded frames are drawn as one
    if (known) known.data!.plugs.push(plug.id);
    else edges.set(edge.id, { ...edge, selected: selected.has(edge.id) });
  }
  for (const ends of pending) {
    if (!graph.sockets[ends.source] || !graph.sockets[ends.target] || edges.has(keyOf(ends))) continue;
    const edge = between(graph, into, { ...ends, id: -1, map: false, gather: false, when: null, pick: null });
    if (edge) edges.set(`…${keyOf(ends)}`, { ...edge, id: `…${keyOf(ends)}`, data: { ...edge.data!, pending: true } });
  }
  return [...edges.values()];
}

function between(graph: Graph, folded: Map<string, string>, plug: Plug): PlugEdge | null {
  if (!graph.sockets[plug.source] || !graph.sockets[plug.target]) return null;
  const [out, into] = [folded.get(plug.source), folded.get(plug.target)];
  if (out && out === into) return null;
  const common = { type: 'plug' as const, markerEnd: { type: MarkerType.ArrowClosed, width: 14, height: 14 }, zIndex: 1 };
  const whole = !out && !into;
  return {
    ...common,
    id: whole ? keyOf(plug) : `${out ?? cardId(plug.source)}→${into ?? keyOf(plug)}`,
    source: out ?? cardId(plug.source),
    sourceHandle: 'out',
    target: into ?? cardId(plug.target),
    targetHandle: into ? 'in' : `in:${plug.argument}`,
    ariaLabel: whole ? `plug ${plugName(plug)}` : 'plugs of what is folded',
    selectable: whole,
    data: { plugs: [plug.id], plug: whole ? plug : null, pending: false }
  };
}
