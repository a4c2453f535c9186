// Wirings to look at.

const WIDTH = 232;

export function socket(processor, signature, returns, doc = '', more = {}) {
  const parameters = signature.map(text => {
    const [, name, annotation, value] = /^(\**\w+)(?::\s*([^=]+?))?(?:\s*=\s*(.+))?$/.exec(text);
    const kind = name.startsWith('**') ? 'VAR_KEYWORD' : name.startsWith('*') ? 'VAR_POSITIONAL' : 'POSITIONAL_OR_KEYWORD';
    return {
      name: name.replace(/^\*+/, ''),
      kind,
      required: value === undefined && !kind.startsWith('VAR_'),
      default: value ?? null,
      annotation: annotation ?? null
    };
  });
  const rows = Math.max(1, parameters.filter(one => !one.kind.startsWith('VAR_')).length);
  return {
    processor,
    paused: false,
    box: [0, 0, WIDTH, 152 + 24 * rows],
    placed: false,
    threads: 1,
    retries: 0,
    timeout: null,
    fixed: {},
    returns,
    doc,
    task: {
      version: 1,
      source: `def f(${signature.join(', ')}):\n    ...`,
      file: 'flow.ipynb',
      signature: parameters,
      stale: [],
      generator: false,
      parked: false,
      ...more
    }
  };
}

export function processor(cpus = null) {
  return { cpus, paused: false, memory: null, affinity: null };
}

export function plug(id, source, target, argument, more = {}) {
  return { id, source, target, argument, on: 'result', map: false, gather: false, when: null, pick: null, ...more };
}

const NODES = [{ name: 'local', cpus: 8, state: 'up', used: 2 }];

function graph(flow, processors, sockets, plugs, nodes = NODES) {
  return { flow, revision: 1, processors, sockets, plugs, nodes };
}

function demo() {
  return graph(
    'demo',
    { io: processor(2), gpu: processor(4) },
    {
      load: socket('io', ['path: str'], 'str', 'Read one text file'),
      count: socket('io', ['text: str'], 'int', 'Count its words'),
      scale: socket('gpu', ['x: float', 'by: float = 2.0'], 'float', 'Multiply'),
      join: socket('gpu', ['one: int', 'two: float', 'label: str = ""'], 'dict', 'Fires when one and two have both come')
    },
    [plug(1, 'load', 'count', 'text')]
  );
}

function six() {
  return graph(
    'words',
    { main: processor(), fast: processor(2) },
    {
      files: socket('main', ['folder: str'], 'Iterator[str]', 'Every text file of a folder', { generator: true }),
      load: socket('main', ['path: str'], 'str', 'Read one text file', { stale: ['ROOT'] }),
      count: socket('fast', ['text: str', 'language: str = "en"'], 'dict[str, int]', 'Count its words'),
      longest: socket('fast', ['text: str'], 'str', 'Its longest word'),
      total: socket('main', ['counts: list[dict[str, int]]'], 'dict[str, int]', 'Sum of all counts'),
      report: socket('main', ['total: dict[str, int]', 'longest: list[str]', 'title: str = "Words"'], 'None', 'Print it')
    },
    [
      plug(1, 'files', 'load', 'path'),
      plug(2, 'load', 'count', 'text'),
      plug(3, 'load', 'longest', 'text'),
      plug(4, 'count', 'total', 'counts', { gather: true }),
      plug(5, 'total', 'report', 'total'),
      plug(6, 'longest', 'report', 'longest', { gather: true })
    ],
    [...NODES, { name: 'lab2', cpus: 32, state: 'down', used: 0, error: 'host refuses' }]
  );
}

function many(count, plugs) {
  const names = [...Array(count).keys()].map(at => `step_${at}`);
  const sockets = Object.fromEntries(
    names.map((name, at) => [name, socket(`pool_${Math.floor(at / 25)}`, ['one: int', 'two: int = 0'], 'int', `Step ${at}`)])
  );
  const processors = Object.fromEntries(
    [...Array(Math.ceil(count / 25)).keys()].map(at => [`pool_${at}`, processor(2)])
  );
  const wires = [];
  // each step feeds the next of its row, and some further on
  for (const [by, argument] of [[1, 'one'], [7, 'two'], [14, 'two']]) {
    for (let at = 0; at + by < count && wires.length < plugs; at++) {
      wires.push(plug(wires.length + 1, names[at], names[at + by], argument));
    }
  }
  return graph('many', processors, sockets, wires);
}

export const scenes = {
  demo,
  six,
  empty: () => graph('main', { main: processor() }, {}, []),
  one: () => graph('main', { main: processor() }, { add: socket('main', ['one: int', 'two: int = 2'], 'int', 'Sum') }, []),
  twelve: () => many(12, 20),
  many: () => many(200, 400),
  most: () => many(1000, 1900)
};
