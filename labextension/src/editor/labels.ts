/** Where the labels of plugs stand: on their plug, and as far as there is such a place on no card and no other label. Pure. */

import type { CardNode, FrameNode, PlugEdge, SceneNode } from './scene';
import type { Plug } from './types';

interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

interface Ends {
  sourceX: number;
  sourceY: number;
  targetX: number;
  targetY: number;
}

/** Tried in this order, as parts of the plug's length. */
const TRIED = [0.5, 0.38, 0.62, 0.26, 0.74, 0.15, 0.85];
/** What a number on a plug takes. */
const LEAST = { width: 44, height: 22 };
const LETTER = 6.5;
/** Edges of the squares in which what is near is looked up. */
const SQUARE = 256;
/** More than there are squares above each other. */
const ROWS = 1 << 20;
/** Of more plugs only those are looked after that surely have a label. */
const MANY = 500;

/** What a plug does beyond carrying, as its label has it. */
export function marksOf(plug: Plug): string[] {
  return [
    plug.pick && (plug.pick.length > 18 ? `${plug.pick.slice(0, 17)}…` : plug.pick),
    plug.map && 'map',
    plug.gather && 'gather',
    plug.when && 'when',
    plug.hops && `hops ${plug.hops}`,
    plug.on === 'error' && 'on error'
  ].filter((mark): mark is string => !!mark);
}

/** A point of a plug, which is drawn as React Flow's `getBezierPath` does from left to right. */
export function pointAt({ sourceX, sourceY, targetX, targetY }: Ends, part: number): { x: number; y: number } {
  const wide = targetX - sourceX;
  const bend = wide >= 0 ? wide / 2 : 6.25 * Math.sqrt(-wide);
  const rest = 1 - part;
  const [a, b, c, d] = [rest ** 3, 3 * rest ** 2 * part, 3 * rest * part ** 2, part ** 3] as const;
  return {
    x: a * sourceX + b * (sourceX + bend) + c * (targetX - bend) + d * targetX,
    y: (a + b) * sourceY + (c + d) * targetY
  };
}

/** What takes room, by the squares that it is in. */
class Taken {
  private squares = new Map<number, Rect[]>();

  add(rect: Rect): void {
    for (const key of this.keys(rect)) {
      const some = this.squares.get(key);
      if (some) some.push(rect);
      else this.squares.set(key, [rect]);
    }
  }

  touches(rect: Rect): boolean {
    return this.keys(rect).some(key => this.squares.get(key)?.some(other => touch(rect, other)));
  }

  private keys({ x, y, width, height }: Rect): number[] {
    const keys: number[] = [];
    for (let column = Math.floor(x / SQUARE); column * SQUARE < x + width; column++) {
      for (let row = Math.floor(y / SQUARE); row * SQUARE < y + height; row++) keys.push(column * ROWS + row);
    }
    return keys;
  }
}

function touch(a: Rect, b: Rect): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

/** By plug, on which part of its length its label stands: those in the middle are left out. */
export function labelParts(edges: PlugEdge[], nodes: SceneNode[]): Map<string, number> {
  const known = new Map<string, CardNode | FrameNode>();
  const taken = new Taken();
  for (const node of nodes) {
    if (node.hidden || node.type === 'note') continue;
    known.set(node.id, node);
    if (node.type === 'socket' || node.data.folded) taken.add(rectOf(node));
  }
  const found = new Map<string, number>();
  // who says more has the choice: a number may not even be there
  const texts = edges.map(edge => [edge, edge.data!.plug ? marksOf(edge.data!.plug).join(' · ') : ''] as const);
  const order = edges.length > MANY ? texts.filter(([, text]) => text) : texts;
  for (const [edge, text] of order.sort((a, b) => b[1].length - a[1].length)) {
    const ends = endsOf(edge, known);
    if (!ends) continue;
    const size = { width: Math.max(LEAST.width, text.length * LETTER + 16), height: LEAST.height };
    const at = (part: number): Rect => {
      const { x, y } = pointAt(ends, part);
      return { x: x - size.width / 2, y: y - size.height / 2, ...size };
    };
    const part = TRIED.find(one => !taken.touches(at(one))) ?? TRIED[0]!;
    taken.add(at(part));
    if (part !== TRIED[0]) found.set(edge.id, part);
  }
  return found;
}

/** Plugs that know where their labels stand. */
export function labelled(edges: PlugEdge[], parts: ReadonlyMap<string, number>): PlugEdge[] {
  return edges.map(edge => (parts.has(edge.id) ? { ...edge, data: { ...edge.data!, at: parts.get(edge.id)! } } : edge));
}

const rectOf = ({ position, width, height }: SceneNode): Rect => ({ ...position, width: width!, height: height! });

function endsOf(edge: PlugEdge, known: Map<string, CardNode | FrameNode>): Ends | null {
  const [from, to] = [known.get(edge.source), known.get(edge.target)];
  const out = from?.handles?.find(one => one.id === edge.sourceHandle);
  const into = to?.handles?.find(one => one.id === edge.targetHandle);
  if (!from || !to || !out || !into) return null;
  return {
    sourceX: from.position.x + out.x + out.width!,
    sourceY: from.position.y + out.y + out.height! / 2,
    targetX: to.position.x + into.x,
    targetY: to.position.y + into.y + into.height! / 2
  };
}
