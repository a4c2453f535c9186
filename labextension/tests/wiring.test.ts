import { describe, expect, it } from 'vitest';
import { fit, yielded } from '../src/editor/fit';
import { step } from '../src/editor/walk';
import { feeding, keyOf, outputType, shared, verdict, type Place } from '../src/editor/wiring';
import { graph, plug, socket } from './graphs';

describe('whether an output fits an argument', () => {
  it.each([
    ['int', 'float'],
    ['bool', 'int'],
    ['list[int]', 'list[float]'],
    ['int | None', 'int'],
    ['Optional[str]', 'str'],
    ['list[str]', 'collections.abc.Iterable'],
    ['Frame', 'pd.DataFrame'],
    [null, 'int']
  ])('%s fits %s', (given, wanted) => expect(fit(given, wanted).ok).toBe(true));

  it.each([
    ['str', 'float'],
    ['float', 'int'],
    ['dict', 'list'],
    ['None', 'Iterable']
  ])('%s does not fit %s', (given, wanted) => expect(fit(given, wanted).ok).toBe(false));

  it('names the option with which a list would fit its element, and an element its list', () => {
    expect(fit('list[int]', 'int')).toEqual({ ok: false, how: 'map' });
    expect(fit('int', 'list[int]')).toEqual({ ok: false, how: 'gather' });
  });

  it('takes of a generator what it yields', () => {
    expect(yielded('Iterator[dict[str, int]]')).toBe('dict[str, int]');
    const one = socket({}, 'Iterator[int]');
    expect(outputType({ ...one, task: { ...one.task, generator: true } })).toBe('int');
  });
});

describe('what a plug would meet', () => {
  const sockets = { count: socket({ text: 'str' }, 'int'), add: socket({ one: 'float', two: 'float' }, 'float') };

  it('may be plugged where it fits, and not twice', () => {
    expect(verdict(graph(sockets), 'count', 'add', 'one').ok).toBe(true);
    const twice = verdict(graph(sockets, [plug('count', 'add', 'one')]), 'count', 'add', 'one');
    expect(twice).toMatchObject({ ok: false, reason: 'count feeds add.one already' });
  });

  it('offers a cycle where it would close one', () => {
    const found = verdict(graph(sockets, [plug('count', 'add', 'one')]), 'add', 'add', 'two');
    expect(found.remedy?.options).toEqual({ cycle: true });
  });

  it('refuses an argument that is not there', () => {
    expect(verdict(graph(sockets), 'count', 'add', 'three').reason).toBe('add.three is not there');
  });
});

it('a new graph keeps the records that did not change', () => {
  const old = graph({ a: socket({ x: null }), b: socket({ y: null }) }, [plug('a', 'b', 'y')]);
  const now = structuredClone(old);
  now.sockets['b']!.paused = true;
  const kept = shared(old, now);
  expect(kept.sockets['a']).toBe(old.sockets['a']);
  expect(kept.sockets['b']).not.toBe(old.sockets['b']);
  expect(kept.plugs[0]).toBe(old.plugs[0]);
});

it('plugs are known by their ends, whatever their number', () => {
  expect(keyOf(plug('a', 'b', 'x', { id: 1 }))).toBe(keyOf(plug('a', 'b', 'x', { id: 7, map: true })));
  expect(keyOf(plug('a', 'b', 'x'))).not.toBe(keyOf(plug('a', 'b', 'x', { on: 'error' })));
});

describe('arrow keys', () => {
  const wired = graph({ a: socket({}), b: socket({ x: null, y: null }) }, [plug('a', 'b', 'y')]);
  const none: ReadonlySet<string> = new Set();

  it('follow a plug to its argument and back', () => {
    const into = step(wired, none, { kind: 'output', socket: 'a' }, 'right');
    expect(into).toEqual({ kind: 'argument', socket: 'b', argument: 'y' });
    expect(step(wired, none, into!, 'left')).toEqual({ kind: 'output', socket: 'a' });
  });

  it('reach every place downwards, and none of a folded processor', () => {
    const walk = (folded: ReadonlySet<string>) => {
      const seen = ['p'];
      for (
        let at = step(wired, folded, { kind: 'processor', processor: 'main' }, 'down');
        at;
        at = step(wired, folded, at, 'down')
      ) {
        seen.push(at.kind[0]!);
      }
      return seen.join('');
    };
    expect(walk(none)).toBe('psosaao');
    expect(walk(new Set(['p:main']))).toBe('p');
  });

  it('read a group before its sockets, and none of those where it is folded', () => {
    const sockets = {
      a: socket({}),
      b: socket({ x: null }, null, { group: 'fit' }),
      c: socket({}),
      d: socket({}, null, { group: 'fit' })
    };
    const grouped = graph(sockets, [plug('a', 'b', 'x')]);
    const walk = (folded: ReadonlySet<string>) => {
      const seen = [];
      let at: Place | null = { kind: 'processor', processor: 'main' };
      for (; at; at = step(grouped, folded, at, 'down')) {
        if (at.kind === 'group') seen.push(at.group);
        else if (at.kind === 'socket') seen.push(at.socket);
      }
      return seen.join(' ');
    };
    expect(walk(none)).toBe('a fit b d c');
    expect(walk(new Set(['g:fit']))).toBe('a fit c');
    expect(step(grouped, none, { kind: 'socket', socket: 'd' }, 'left')).toEqual({ kind: 'group', group: 'fit' });
  });

  it('know who feeds an argument', () => {
    expect(feeding(wired, 'b', 'y').map(one => one.source)).toEqual(['a']);
    expect(feeding(wired, 'b', 'x')).toEqual([]);
  });
});
