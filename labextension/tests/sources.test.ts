import { expect, it } from 'vitest';
import { freeName, nameTrouble, skeleton } from '../src/editor/adding';
import { difference, highlighted } from '../src/editor/sources';
import { graph, socket } from './graphs';

it('a difference has every line of both versions in its order', () => {
  const lines = difference('def f(x):\n    return x\n', 'def f(x):\n    y = 2 * x\n    return y');
  expect(lines.map(({ sign, text }) => sign + text)).toEqual([' def f(x):', '-    return x', '+    y = 2 * x', '+    return y']);
  expect(difference('a', 'a\n')).toEqual([{ sign: ' ', text: 'a' }]);
});

it('highlighted code has no markup but that of its tokens', () => {
  const html = highlighted('def f(x):\n    return "<img src=x onerror=alert(1)>"  # </pre><script>');
  expect(html.replace(/<\/?span( class="[a-z_ -]+")?>/g, '')).not.toMatch(/[<>]/);
  expect(html).toContain('<span class="hljs-keyword">def</span>');
});

it('a new socket takes what its source gives, by a type that every notebook knows', () => {
  const wired = graph({ task: socket({}, 'int'), read: socket({}, 'pd.DataFrame') });
  const wanted = { source: 'task', spot: { x: 0, y: 0 }, processor: 'main' };
  expect(freeName(wired)).toBe('task_2');
  expect(skeleton(wired, 'double', wanted)).toBe('%%ec_socket\ndef double(value: int):\n    return value');
  expect(skeleton(wired, 'f', { ...wanted, source: 'read', processor: 'gpu' })).toBe(
    '%%ec_socket --processor gpu\ndef f(value):\n    return value'
  );
  expect(nameTrouble(wired, 'größe_2')).toBeNull();
  expect(nameTrouble(wired, '2x')).toContain('is no name');
});
