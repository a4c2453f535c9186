import { getBezierPath, Position } from '@xyflow/react';
import { describe, expect, it } from 'vitest';
import { labelParts, pointAt } from '../src/editor/labels';
import { sceneEdges, sceneNodes } from '../src/editor/scene';
import { rooms, room } from '../src/panel/words';
import { graph, plug, socket } from './graphs';

const none = new Set<string>();
const placed = (x: number, y: number) => socket({ x: null, y: null }, null, { box: [x, y, 232, 200] });
const parts = (wired: ReturnType<typeof graph>) => labelParts(sceneEdges(wired, none, [], none), sceneNodes(wired, none, []));

describe('labels of plugs', () => {
  it('stand in the middle where that is free', () => {
    const wired = graph({ a: placed(0, 0), b: placed(600, 0) }, [plug('a', 'b', 'x', { map: true })]);
    expect(parts(wired).size).toBe(0);
  });

  it.each([
    [600, 500],
    [-600, 0]
  ])('are measured along the line that is drawn, to %d, %d', (targetX, targetY) => {
    const ends = { sourceX: 10, sourceY: 20, targetX, targetY };
    const drawn = getBezierPath({ ...ends, sourcePosition: Position.Right, targetPosition: Position.Left });
    const { x, y } = pointAt(ends, 0.5);
    expect([x, y]).toEqual([expect.closeTo(drawn[1], 6), expect.closeTo(drawn[2], 6)]);
  });

  it('lie on no card that their plug passes', () => {
    const wired = graph({ a: placed(0, 0), passed: placed(500, -80), b: placed(1000, 0) }, [plug('a', 'b', 'x', { map: true })]);
    const [part] = [...parts(wired).values()];
    const { x } = pointAt({ sourceX: 238, sourceY: 14, targetX: 994, targetY: 60 }, part!);
    expect(x < 500 - 20 || x > 732 + 20).toBe(true);
  });

  it('lie on no label of another plug', () => {
    const both = [plug('a', 'b', 'x', { map: true }), plug('a', 'b', 'y', { id: 2, gather: true })];
    expect(parts(graph({ a: placed(0, 0), b: placed(600, 0) }, both)).size).toBe(1);
  });
});

it('a size is told as Python tells it', () => {
  expect([0, 1023, 1024, 5.4 * 1024 ** 2, 1.25 * 1024 ** 3].map(room)).toEqual(['0 B', '1023 B', '1 KiB', '5 MiB', '1.3 GiB']);
  expect(rooms({ database: 2048, values: 0, logs: 1, total: 2049 })).toBe('On disk: database 2 KiB, values 0 B, logs 1 B');
});
