import { describe, expect, it } from 'vitest';
import { groupId, processorId } from '../src/editor/frames';
import { CARD, cardId, FRAME, moved, processorAt, sceneEdges, sceneNodes, type SceneNode } from '../src/editor/scene';
import { spark } from '../src/editor/spark';
import { age, bytes, duration, nodeArgs, short, stateOf } from '../src/editor/words';
import { graph, plug, socket } from './graphs';

describe('numbers as a person reads them', () => {
  it.each([
    [0, '0'],
    [9999, '9,999'],
    [10_400, '10k'],
    [999_499, '999k'],
    [1_230_000, '1.2M'],
    [12_300_000, '12M']
  ])('%d is %s', (count, text) => expect(short(count)).toBe(text));

  it('durations, ages and sizes name their unit', () => {
    expect([duration(0.0123), duration(1.5), duration(90), duration(null)]).toEqual(['12 ms', '1.5 s', '2 min', '–']);
    expect([age(-3), age(59), age(3600), age(200_000)]).toEqual(['0 s', '59 s', '1 h', '2 d']);
    expect([bytes(999), bytes(1500), bytes(2e9)]).toEqual(['999 B', '1.5 kB', '2 GB']);
  });

  it('of a node form, only what was filled in is sent', () => {
    expect(nodeArgs({ name: ' gpu ', host: ' ', cpus: '4', requirements: 'numpy  pandas' })).toEqual({
      name: 'gpu',
      cpus: 4,
      requirements: ['numpy', 'pandas']
    });
  });
});

it('a card says what is so now, before what was', () => {
  const counts = { waiting: 0, queued: 1, running: 1, done: 5, failed: 2, cancelled: 0, skipped: 0, arrived: {} };
  const one = socket({});
  expect(stateOf(one, counts, false)).toBe('running');
  expect(stateOf(one, { ...counts, running: 0 }, true)).toBe('paused');
  expect(stateOf(one, { ...counts, running: 0 }, false)).toBe('failed');
  expect(stateOf(one, { ...counts, running: 0, failed: 0, queued: 0, lists: { x: 1 } }, false)).toBe('waiting');
});

describe('a spark line', () => {
  it('leaves a gap where there is no number', () => {
    const drawn = spark([1, 2, null, 3, 4], 40, 20)!;
    expect(drawn.line.match(/M/g)).toHaveLength(2);
    expect(drawn.area.match(/Z/g)).toHaveLength(2);
  });

  it('is not drawn of one point', () => expect(spark([null, 1], 40, 20)).toBeNull());

  it('stays in its box, whatever the numbers', () => {
    const heights = spark([-1e9, 0, 1e9], 40, 20)!
      .line.match(/ -?[\d.]+/g)!
      .map(Number);
    expect(Math.min(...heights)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...heights)).toBeLessThanOrEqual(20);
  });
});

describe('the scene of a wiring', () => {
  const wired = graph({ a: socket({}), b: socket({ x: null }, null, { box: [400, 0, 232, 176], processor: 'other' }) }, [
    plug('a', 'b', 'x'),
    plug('a', 'b', 'x', { id: 2, on: 'error' })
  ]);
  wired.processors['other'] = { cpus: 1, paused: false, memory: null, affinity: null };
  const nodes = sceneNodes(wired, new Set(), []);

  it('has a frame around the cards of each processor', () => {
    const frame = nodes.find(node => node.id === processorId('main'))!;
    const card = nodes.find(node => node.id === cardId('a'))!;
    expect(frame.position.x).toBeLessThan(card.position.x);
    expect(frame.width).toBeGreaterThan(CARD.width);
  });

  it('keeps a card that is in the hand where the hand is', () => {
    const held = nodes.map(node => (node.id === cardId('a') ? { ...node, position: { x: 7, y: 9 }, dragging: true } : node));
    expect(sceneNodes(wired, new Set(), held).find(node => node.id === cardId('a'))!.position).toEqual({ x: 7, y: 9 });
  });

  it('takes cards along with their processor', () => {
    const frame = nodes.find(node => node.id === processorId('main'))!;
    const to = { x: frame.position.x + 10, y: frame.position.y + 20 };
    const after = moved(nodes, new Map([[frame.id, to]]));
    expect(after.find(node => node.id === cardId('a'))!.position).toEqual({ x: 10, y: 20 });
    expect(after.find(node => node.id === cardId('b'))!.position).toEqual({ x: 400, y: 0 });
  });

  it('draws plugs between folded processors as one', () => {
    expect(sceneEdges(wired, new Set(), [], new Set())).toHaveLength(2);
    const bundled = sceneEdges(wired, new Set(['p:main', 'p:other']), [], new Set());
    expect(bundled.map(edge => edge.data)).toEqual([{ plugs: [1, 2], plug: null, pending: false }]);
  });

  it('knows the processor under a card that is let go, except its own', () => {
    expect(processorAt(nodes, wired, { x: 420, y: 10 }, ['a'])).toBe('other');
    expect(processorAt(nodes, wired, { x: 420, y: 10 }, ['b'])).toBeNull();
  });
});

describe('a group in the scene', () => {
  const at = (x: number, y: number, more: object = {}) =>
    socket({ x: null }, null, { box: [x, y, 232, 176], group: 'fit', ...more });
  const wired = graph(
    { load: socket({}), a: at(400, 100), b: at(800, 300), end: socket({ x: null, y: null }, null, { box: [1200, 0, 232, 200] }) },
    [plug('load', 'a', 'x'), plug('a', 'b', 'x', { id: 2 }), plug('b', 'end', 'x', { id: 3 }), plug('b', 'end', 'y', { id: 4 })]
  );
  const folded = new Set([groupId('fit')]);
  const find = (nodes: SceneNode[], id: string) => nodes.find(node => node.id === id)!;
  const shown = (nodes: SceneNode[]) => nodes.filter(node => !node.hidden).map(node => node.id);

  it('has a frame around its cards, and its processor one around that', () => {
    const nodes = sceneNodes(wired, new Set(), []);
    const [group, processor] = [find(nodes, groupId('fit')), find(nodes, processorId('main'))];
    expect(group.position).toEqual({ x: 400 - FRAME.group.side, y: 100 - FRAME.group.top });
    expect(group.position.x + group.width!).toBe(800 + CARD.width + FRAME.group.side);
    const end = group.position.y + group.height!;
    expect(processor.position.y + processor.height!).toBe(end + FRAME.processor.side);
  });

  it('is one card where it is folded, with the plugs that cross its border', () => {
    expect(shown(sceneNodes(wired, folded, []))).toEqual(['p:main', 'g:fit', 's:load', 's:end']);
    const edges = sceneEdges(wired, folded, [], new Set());
    expect(edges.map(({ source, target, data }) => [source, target, data!.plugs])).toEqual([
      ['s:load', 'g:fit', [1]],
      ['g:fit', 's:end', [3]],
      ['g:fit', 's:end', [4]]
    ]);
  });

  it('goes with its processor where that is folded, and stays a card where it is on several', () => {
    const both = new Set([...folded, processorId('main')]);
    expect(shown(sceneNodes(wired, both, []))).toEqual(['p:main']);
    const apart = { ...wired, processors: { ...wired.processors, other: wired.processors['main']! } };
    apart.sockets = { ...wired.sockets, b: at(800, 300, { processor: 'other' }) };
    expect(shown(sceneNodes(apart, both, []))).toEqual(['p:main', 'p:other', 'g:fit']);
    expect(shown(sceneNodes(apart, new Set([processorId('main')]), []))).toEqual(['p:main', 'p:other', 'g:fit', 's:b']);
  });

  it('takes its cards along, folded or not, and no others', () => {
    for (const fold of [new Set<string>(), folded]) {
      const nodes = sceneNodes(wired, fold, []);
      const { position } = find(nodes, groupId('fit'));
      const after = moved(nodes, new Map([[groupId('fit'), { x: position.x + 10, y: position.y - 20 }]]));
      expect(find(after, cardId('b')).position).toEqual({ x: 810, y: 280 });
      expect(find(after, groupId('fit')).position).toEqual({ x: position.x + 10, y: position.y - 20 });
      expect(find(after, cardId('end')).position).toEqual({ x: 1200, y: 0 });
    }
  });
});
