/** Whether what one task returns fits an argument of another, by their annotations alone. Pure. */

/** `how`: it would fit as a plug with that option. */
export interface Fit {
  ok: boolean;
  how?: 'map' | 'gather';
}

interface Type {
  head: string;
  inner: Type[];
}

const NUMBERS = ['bool', 'int', 'float', 'complex'];
const CONTAINERS = ['list', 'tuple', 'set', 'frozenset', 'dict'];
const STREAMS = ['Iterator', 'Iterable', 'Generator', 'AsyncIterator', 'AsyncIterable', 'AsyncGenerator', 'Sequence'];
const ABSTRACT = [...STREAMS, 'Collection', 'Mapping', 'MutableMapping', 'MutableSequence', 'Set', 'MutableSet'];
// only of these is it known that they are not one another; any other name may be a class, an alias or a protocol
const KNOWN = new Set([...NUMBERS, ...CONTAINERS, ...ABSTRACT, 'str', 'bytes', 'None']);

/** Parts of `text` between separators that stand in no bracket. */
function split(text: string, separator: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '[') depth++;
    else if (text[at] === ']') depth--;
    else if (text[at] === separator && depth === 0) {
      parts.push(text.slice(from, at));
      from = at + 1;
    }
  }
  return [...parts, text.slice(from)].map(part => part.trim());
}

/** The alternatives an annotation names. */
function parse(annotation: string): Type[] {
  const text = annotation.trim().replace(/^(['"])(.*)\1$/, '$2');
  const alternatives = split(text, '|');
  if (alternatives.length > 1) return alternatives.flatMap(parse);
  const [, name, inside] = /^([\w.]+)\s*(?:\[(.*)\])?$/s.exec(text) ?? [null, text, undefined];
  const head = (name ?? '').replace(/^(typing|collections\.abc|builtins|t)\./, '');
  const inner = inside === undefined ? [] : split(inside, ',');
  if (head === 'Union') return inner.flatMap(parse);
  if (head === 'Optional') return [...inner.flatMap(parse), { head: 'None', inner: [] }];
  if (head === 'Annotated' && inner[0]) return parse(inner[0]);
  const old = { List: 'list', Dict: 'dict', Tuple: 'tuple', FrozenSet: 'frozenset', NoneType: 'None' }[head] ?? head;
  // what is inside counts only where it is one plain type
  return [{ head: old, inner: inner.map(text => parse(text)).map(of => (of.length === 1 ? of[0]! : ANY)) }];
}

const ANY: Type = { head: 'Any', inner: [] };

function matches(given: Type, wanted: Type): boolean {
  if (!KNOWN.has(given.head) || !KNOWN.has(wanted.head)) return true;
  if (NUMBERS.includes(given.head) && NUMBERS.includes(wanted.head)) {
    return NUMBERS.indexOf(given.head) <= NUMBERS.indexOf(wanted.head);
  }
  if (ABSTRACT.includes(wanted.head) || ABSTRACT.includes(given.head)) {
    const concrete = ABSTRACT.includes(given.head) ? wanted.head : given.head;
    return !NUMBERS.includes(concrete) && concrete !== 'None';
  }
  if (given.head !== wanted.head) return false;
  if (given.head === 'tuple' || given.inner.length !== wanted.inner.length) return true;
  return given.inner.every((inner, at) => matches(inner, wanted.inner[at]!));
}

function some(given: Type[], wanted: Type[]): boolean {
  return given.some(one => wanted.some(other => matches(one, other)));
}

/** What a generator's annotation says of one yielded value. */
export function yielded(annotation: string): string {
  const [type] = parse(annotation);
  return type && STREAMS.includes(type.head) && type.inner[0] ? spell(type.inner[0]) : annotation;
}

function spell(type: Type): string {
  return type.head + (type.inner.length ? `[${type.inner.map(spell).join(', ')}]` : '');
}

/** An unknown annotation fits everything; of a union, one fitting alternative is enough. */
export function fit(given: string | null, wanted: string | null): Fit {
  if (!given || !wanted) return { ok: true };
  const [out, into] = [parse(given), parse(wanted)];
  if (some(out, into)) return { ok: true };
  const elements = out.filter(type => !['dict', 'tuple'].includes(type.head)).flatMap(type => type.inner.slice(0, 1));
  if (elements.length && some(elements, into)) return { ok: false, how: 'map' };
  const lists = into.filter(type => type.head === 'list' || ABSTRACT.includes(type.head));
  if (lists.some(list => !list.inner[0] || some(out, [list.inner[0]]))) return { ok: false, how: 'gather' };
  return { ok: false };
}
