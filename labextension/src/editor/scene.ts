/** From a wiring to React Flow's nodes and edges: where cards, processors and plugs lie. Pure. */

import { MarkerType, Position, type Edge, type Node, type NodeHandle } from '@xyflow/react';
import type { Graph, Note, Plug, Socket } from './types';
import { keyOf, plugName, ports, type Ends } from './wiring';

// as Python's layout has it: a card's head and foot, its rows, and the room around the cards of a processor
export const CARD = { width: 232, head: 48, row: 24, value: 76, foot: 28 };
export const NOTE = { width: 220, line: 16, characters: 34 };
export const GROUP = { side: 20, top: 48, emptyWidth: 272, emptyHeight: 88 };
const FOLDED = { width: 232, height: 88 };
const GRIP = 12;

export type CardNode = Node<{ socket: string }, 'socket'>;
export type GroupNode = Node<{ processor: string; folded: boolean; sockets: string[] }, 'processor'>;
export type NoteNode = Node<{ note: Note }, 'note'>;
export type SceneNode = CardNode | GroupNode | NoteNode;
/** `plugs` are the numbers of the plugs it stands for; one, unless a processor is folded. */
export type PlugEdge = Edge<{ plugs: number[]; plug: Plug | null; pending: boolean }, 'plug'>;

export const cardId = (socket: string): string => `s:${socket}`;
export const noteId = (note: number): string => `n:${note}`;
export const groupId = (processor: string): string => `p:${processor}`;

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
export function groupAt(nodes: SceneNode[], graph: Graph, { x, y }: { x: number; y: number }, held: string[]): string | null {
  const own = new Set(held.map(name => graph.sockets[name]?.processor));
  const holds = (group: GroupNode) => {
    const rest = nodes.filter(
      node => node.type === 'socket' && group.data.sockets.includes(node.data.socket) && !held.includes(node.data.socket)
    ) as CardNode[];
    const rect =
      group.data.folded || !group.data.sockets.length
        ? { ...group.position, width: group.width!, height: group.height! }
        : around(rest);
    return rect && x >= rect.x && y >= rect.y && x <= rect.x + rect.width && y <= rect.y + rect.height;
  };
  const over = nodes
    .filter((node): node is GroupNode => node.type === 'processor' && !!holds(node))
    .map(node => node.data.processor);
  return over.some(name => own.has(name)) ? null : (over[0] ?? null);
}

function around(cards: CardNode[]): Rect | null {
  if (!cards.length) return null;
  const left = Math.min(...cards.map(card => card.position.x));
  const top = Math.min(...cards.map(card => card.position.y));
  const right = Math.max(...cards.map(card => card.position.x + card.width!));
  const bottom = Math.max(...cards.map(card => card.position.y + card.height!));
  return {
    x: left - GROUP.side,
    y: top - GROUP.top,
    width: right - left + 2 * GROUP.side,
    height: bottom - top + GROUP.top + GROUP.side
  };
}

/** Every node of the picture. Cards in the hand keep their place, and the selected stay selected. */
export function sceneNodes(graph: Graph, folded: ReadonlySet<string>, before: SceneNode[]): SceneNode[] {
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
      hidden: folded.has(socket.processor),
      measured: { width: CARD.width, height: cardHeight(socket) },
      zIndex: 2
    };
  });
  return [...groups(graph, folded, cards, old), ...notes(graph, old), ...cards];
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

function groups(graph: Graph, folded: ReadonlySet<string>, cards: CardNode[], old: Map<string, SceneNode>): GroupNode[] {
  let right = Math.max(-60, ...cards.map(card => card.position.x + CARD.width));
  return Object.keys(graph.processors).map((name): GroupNode => {
    const own = cards.filter(card => graph.sockets[card.data.socket]!.processor === name);
    const known = old.get(groupId(name));
    const isFolded = folded.has(name) && own.length > 0;
    const rect = around(own) ?? { x: (right += 80), y: 0, width: GROUP.emptyWidth, height: GROUP.emptyHeight };
    if (!own.length) {
      right += GROUP.emptyWidth;
      if (known) Object.assign(rect, known.position);
    }
    const size = isFolded ? FOLDED : { width: rect.width, height: rect.height };
    return {
      id: groupId(name),
      type: 'processor',
      data: { processor: name, folded: isFolded, sockets: own.map(card => card.data.socket) },
      position: { x: rect.x, y: rect.y },
      ...size,
      measured: size,
      handles: isFolded ? [handle('in', 'target', 0, 44), handle('out', 'source', FOLDED.width, 44)] : [],
      selected: known?.selected ?? false,
      dragging: known?.dragging ?? false,
      dragHandle: '.ec-group-title',
      zIndex: isFolded ? 2 : 0
    };
  });
}

/** Processors take their cards along when they are dragged, and are as large as their cards need. */
export function moved(nodes: SceneNode[], changes: Map<string, { x: number; y: number }>): SceneNode[] {
  const shift = new Map<string, { x: number; y: number }>();
  for (const node of nodes) {
    const to = node.type === 'processor' && changes.get(node.id);
    if (!to || node.type !== 'processor') continue;
    for (const socket of node.data.sockets) {
      shift.set(cardId(socket), { x: to.x - node.position.x, y: to.y - node.position.y });
    }
  }
  const next = nodes.map(node => {
    if (node.type === 'processor') return node;
    if (node.type === 'note') return changes.has(node.id) ? { ...node, position: changes.get(node.id)! } : node;
    const [to, by] = [changes.get(node.id), shift.get(node.id)];
    if (to) return { ...node, position: to };
    return by ? { ...node, position: { x: node.position.x + by.x, y: node.position.y + by.y } } : node;
  });
  const cards = new Map(next.filter(node => node.type === 'socket').map(node => [node.data.socket, node]));
  return next.map(node => {
    if (node.type !== 'processor') return node;
    const own = node.data.sockets.map(name => cards.get(name)!);
    const still = own.filter(card => !card.dragging);
    // what is in the hand is about to be let go elsewhere, maybe in another frame
    const rect = around(still.length ? still : own);
    if (!rect) return changes.has(node.id) ? { ...node, position: changes.get(node.id)! } : node;
    const { x, y } = rect;
    const size = node.data.folded ? FOLDED : { width: rect.width, height: rect.height };
    if (x === node.position.x && y === node.position.y && size.width === node.width && size.height === node.height) {
      return node;
    }
    return { ...node, position: { x, y }, ...size, measured: size };
  });
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
  const edges = new Map<string, PlugEdge>();
  for (const plug of graph.plugs) {
    const edge = between(graph, folded, plug);
    if (!edge) continue;
    const known = edges.get(edge.id);
    // several plugs between folded processors are drawn as one
    if (known) known.data!.plugs.push(plug.id);
    else edges.set(edge.id, { ...edge, selected: selected.has(edge.id) });
  }
  for (const ends of pending) {
    if (!graph.sockets[ends.source] || !graph.sockets[ends.target] || edges.has(keyOf(ends))) continue;
    const edge = between(graph, folded, { ...ends, id: -1, map: false, gather: false, when: null, pick: null });
    if (edge) edges.set(`…${keyOf(ends)}`, { ...edge, id: `…${keyOf(ends)}`, data: { ...edge.data!, pending: true } });
  }
  return [...edges.values()];
}

function between(graph: Graph, folded: ReadonlySet<string>, plug: Plug): PlugEdge | null {
  const [from, to] = [graph.sockets[plug.source]?.processor, graph.sockets[plug.target]?.processor];
  if (from === undefined || to === undefined) return null;
  const [out, into] = [folded.has(from), folded.has(to)];
  if (out && into && from === to) return null;
  const common = { type: 'plug' as const, markerEnd: { type: MarkerType.ArrowClosed, width: 14, height: 14 }, zIndex: 1 };
  const whole = !out && !into;
  return {
    ...common,
    id: whole ? keyOf(plug) : `${out ? groupId(from) : cardId(plug.source)}→${into ? groupId(to) : keyOf(plug)}`,
    source: out ? groupId(from) : cardId(plug.source),
    sourceHandle: 'out',
    target: into ? groupId(to) : cardId(plug.target),
    targetHandle: into ? 'in' : `in:${plug.argument}`,
    ariaLabel: whole ? `plug ${plugName(plug)}` : 'plugs of a folded processor',
    selectable: whole,
    data: { plugs: [plug.id], plug: whole ? plug : null, pending: false }
  };
}
