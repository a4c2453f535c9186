// A flow in memory that edits, refuses, undoes, queues and joins as the engine does; calls run when a test lets them.

import { layout } from './layout.js';
import { story } from './story.js';

const EDITS = {
  plug(graph, { source, target, argument, on = 'result', map = false, gather = false, cycle = false }, flow) {
    need(graph, source);
    const parameter = need(graph, target).task.signature.find(one => one.name === argument);
    if (!parameter) throw new Error(`'${target}' has no argument '${argument}'`);
    const old = graph.plugs.find(p => p.source === source && p.target === target && p.argument === argument && p.on === on);
    if (!old && !cycle && reaches(graph, target, source)) {
      throw new Error(`a plug from '${source}' to '${target}' would close a cycle; cycle=True allows it`);
    }
    const made = { id: old?.id ?? ++flow.plugNumber, source, target, argument, on, map, gather, when: old?.when ?? null, pick: old?.pick ?? null };
    graph.plugs = old ? graph.plugs.map(p => (p === old ? made : p)) : [...graph.plugs, made];
    return `plug ${source} -> ${target}.${argument}`;
  },
  unplug(graph, { source, target, argument, on }) {
    const found = graph.plugs.filter(p => p.source === source && p.target === target && p.argument === argument && p.on === on);
    if (!found.length) throw new Error(`no plug from '${source}' to '${target}'`);
    graph.plugs = graph.plugs.filter(p => !found.includes(p));
    return `unplug ${source} -> ${target}.${argument}`;
  },
  replug(graph, { source, target, argument, on, to_on, to_target, to_argument }) {
    const found = graph.plugs.find(p => p.source === source && p.target === target && p.argument === argument && p.on === on);
    if (!found) throw new Error(`there is no plug ${source} -> ${target}.${argument} any more`);
    graph.plugs = graph.plugs.map(p => (p === found ? { ...p, on: to_on ?? on, target: to_target ?? target, argument: to_argument ?? argument } : p));
    return `plug ${source} -> ${target}.${argument}`;
  },
  processor(graph, { name, cpus = null, nodes }) {
    for (const node of Object.keys(nodes ?? {})) {
      if (!graph.nodes.some(one => one.name === node)) throw new Error(`no node named '${node}'`);
    }
    // of one node the processor's own CPUs are the limit there
    if (nodes && Object.keys(nodes).length === 1) cpus = Object.values(nodes)[0] ?? cpus;
    if (!/^[A-Za-z_]\w*$/.test(name)) throw new Error(`'${name}' is no name for a processor; try '${name.replace(/\W+/g, '_')}'`);
    if (cpus !== null && cpus < 0) throw new Error(`processor '${name}' cannot have ${cpus} CPUs`);
    graph.processors[name] = { ...(graph.processors[name] ?? { paused: false, memory: null, affinity: null }), cpus, ...(nodes && { nodes }) };
    return `processor ${name}`;
  },
  remove_processor(graph, { name }) {
    delete graph.processors[name];
    return `remove processor ${name}`;
  },
  node(graph, { name, host = name, cpus = 0, requirements = [] }) {
    if (name === 'local') throw new Error("node 'local' is this machine, and there already");
    if (/^-|\s/.test(host)) throw new Error(`node '${name}': '${host}' is no host; write user@host or a name ssh knows`);
    const made = { name, host, cpus, requirements, state: 'starting', since: Date.now() / 1000, error: null };
    graph.nodes = [...graph.nodes.filter(one => one.name !== name), made];
    return `node ${name} at ${host}`;
  },
  remove_node(graph, { name }) {
    const alone = Object.entries(graph.processors).find(([, of]) => of.nodes && Object.keys(of.nodes).join() === name);
    if (alone) throw new Error(`node '${name}' is the only one of processor ${alone[0]}; move it first`);
    graph.nodes = graph.nodes.filter(one => one.name !== name);
    return `remove node ${name}`;
  },
  rename(graph, { name, to }) {
    need(graph, name);
    if (graph.sockets[to]) throw new Error(`there is a socket '${to}' already`);
    graph.sockets = Object.fromEntries(Object.entries(graph.sockets).map(([k, v]) => [k === name ? to : k, v]));
    for (const p of graph.plugs) {
      if (p.source === name) p.source = to;
      if (p.target === name) p.target = to;
    }
    return `rename ${name} to ${to}`;
  },
  remove(graph, { name, force }, flow) {
    need(graph, name);
    const load = flow.arrivals.filter(one => one.socket === name).length;
    if (load && !force) throw new Error(`${load} requests or values wait at socket '${name}'; force=True parks them with it until the removal is undone`);
    delete graph.sockets[name];
    graph.plugs = graph.plugs.filter(p => p.source !== name && p.target !== name);
    return `remove ${name}`;
  },
  position(graph, { positions }) {
    for (const [name, [x, y]] of Object.entries(positions)) {
      const { box } = need(graph, name);
      graph.sockets[name] = { ...graph.sockets[name], box: [x, y, box[2], box[3]], placed: true };
    }
    return `move ${Object.keys(positions).sort().join(', ')}`;
  },
  move(graph, { socket, processor }) {
    need(graph, socket).processor = processor;
    return `move ${socket} to ${processor}`;
  },
  group(graph, { name, sockets }) {
    if (!/^[A-Za-z0-9_][\w.-]*$/.test(name)) throw new Error(`'${name}' is no name for a group; try '${name.replace(/\W+/g, '_')}'`);
    for (const one of sockets) need(graph, one).group = name;
    return `group ${name}: ${sockets.join(', ')}`;
  },
  ungroup(graph, { name, sockets }) {
    for (const [one, of] of Object.entries(graph.sockets)) {
      if (of.group === name && (!sockets || sockets.includes(one))) of.group = null;
    }
    return `ungroup ${name}`;
  },
  rename_group(graph, { name, to }) {
    const of = Object.values(graph.sockets);
    if (of.some(one => one.group === to)) throw new Error(`there is a group '${to}' already`);
    for (const one of of) if (one.group === name) one.group = to;
    return `rename group ${name} to ${to}`;
  },
  note(graph, { id, text, place }, flow) {
    const old = id && graph.notes.find(one => one.id === id);
    if (id && !old) throw new Error(`no note ${id} is on the canvas`);
    const made = { id: id ?? ++flow.number, text: text ?? old.text, place: place ?? old.place };
    if (!made.text.trim()) throw new Error(`note: text= takes a text of 1 to 4000 characters, not ''`);
    graph.notes = [...(graph.notes ?? []).filter(one => one.id !== id), made];
    return `note '${made.text}'`;
  },
  remove_note(graph, { id }) {
    graph.notes = graph.notes.filter(one => one.id !== id);
    return `remove note ${id}`;
  },
  fix(graph, { socket, argument, text }) {
    literal(text, argument);
    need(graph, socket).fixed[argument] = { type: 'int', text };
    return `fix ${socket}.${argument} = ${text}`;
  },
  unfix(graph, { socket, argument }) {
    delete need(graph, socket).fixed[argument];
    return `unfix ${socket}.${argument}`;
  }
};

function need(graph, name) {
  const found = graph.sockets[name];
  if (!found) throw new Error(`no socket named '${name}'; known: ${Object.keys(graph.sockets).sort().join(', ')}`);
  return found;
}

function reaches(graph, from, to) {
  return from === to || graph.plugs.some(p => p.source === from && reaches(graph, p.target, to));
}

function literal(text, argument) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${argument}: ${text} is no JSON and no Python literal`);
  }
}

/** A request as an engine's row has it: without what only this flow keeps. */
function sent({ values, result, output, elements, answered, ...row }) {
  return row;
}

export class Flow {
  constructor(graph) {
    this.graph = layout(graph);
    this.history = [];
    this.undone = [];
    this.plugNumber = Math.max(0, ...graph.plugs.map(p => p.id));
    this.requests = [];
    this.arrivals = [];
    this.depths = {};
    this.number = 0;
    this.seq = 0;
    this.onGraph = () => {};
    this.onCounts = () => {};
    this.asked = [];
  }

  // -- commands of the page: an error is the answer's
  command(op, args) {
    this.asked.push({ op, args });
    return this[`op_${op}`](args);
  }

  op_edit({ changes }) {
    const next = structuredClone(this.graph);
    const texts = changes.map(change => EDITS[change.op](next, change, this));
    const receipt = this.receipt(next);
    return { ...this.commit(next, texts.join(', ')), receipt };
  }

  op_foretell({ changes }) {
    const next = structuredClone(this.graph);
    for (const change of changes) EDITS[change.op](next, change, this);
    return { revision: this.graph.revision, receipt: this.receipt(next) };
  }

  // where calls under way send their results, by the wiring that an edit makes
  receipt(next) {
    const [to, nowhere] = [{}, {}];
    for (const { socket, state } of this.requests) {
      if (state !== 'queued' && state !== 'running') continue;
      const [before, after] = [this.graph, next].map(g => g.plugs.filter(p => p.source === socket).map(p => p.target));
      if (String(before) === String(after)) continue;
      for (const name of new Set(after)) to[name] = (to[name] ?? 0) + 1;
      if (!after.length) nowhere[socket] = (nowhere[socket] ?? 0) + 1;
    }
    const [moved, stays] = [{}, {}];
    for (const { socket, state } of this.requests) {
      if (!next.sockets[socket] || next.sockets[socket].processor === this.graph.sockets[socket].processor) continue;
      if (state === 'queued') moved[socket] = (moved[socket] ?? 0) + 1;
      if (state === 'running') stays[socket] = (stays[socket] ?? 0) + 1;
    }
    const told = (of, word) => Object.entries(of).map(([name, n]) => word.replace('N', n).replace('S', `'${name}'`));
    const parts = [...told(to, 'N to S'), ...told(nowhere, 'N of S to nothing')];
    parts.push(...told(moved, 'N of S on its new processor'), ...told(stays, 'N of S run on where they are'));
    return { to, nowhere, text: parts.length ? `${parts.join(', ')}, 0 lost` : '' };
  }

  // a socket that asks a person, and its calls
  asks(name, prompt, choices, signature = [{ name: 'value', kind: 'POSITIONAL_OR_KEYWORD', required: true, default: null, annotation: null }]) {
    this.declare(name, signature);
    this.graph.sockets[name].task.ask = { prompt, choices };
    this.show({ ...this.graph, sockets: { ...this.graph.sockets, [name]: { ...this.graph.sockets[name] } } });
  }

  op_respond({ request, answer }) {
    const found = this.found(request);
    if (found.answered || found.state !== 'asked') throw new Error(`request ${request} of '${found.socket}' was answered before: ${found.answered}`);
    this.finish(request, answer);
    found.answered = `anna answered '${answer}'`;
    return {};
  }

  op_node(args) {
    const known = this.graph.nodes.find(one => one.name === args.name) ?? {};
    return this.op_edit({ changes: [{ ...known, ...args, op: 'node' }] });
  }

  op_remove_node({ name }) {
    return this.op_edit({ changes: [{ op: 'remove_node', name }] });
  }

  op_tidy() {
    return this.commit(layout(structuredClone(this.graph)), 'tidy');
  }

  commit(next, text) {
    this.history.push({ before: this.graph, text, time: Date.now() / 1000 });
    this.undone = [];
    return this.show(next);
  }

  show(next, quietly = false) {
    this.graph = { ...next, revision: this.graph.revision + 1 };
    if (!quietly) this.onGraph(this.graph);
    return { revision: this.graph.revision };
  }

  op_undo() {
    const last = this.history.pop();
    if (!last) throw new Error('there is nothing to undo');
    this.undone.push({ after: this.graph, text: last.text, time: last.time });
    return { ...this.show(last.before), text: last.text };
  }

  op_redo() {
    const last = this.undone.pop();
    if (!last) throw new Error('there is nothing to redo');
    this.history.push({ before: this.graph, text: last.text, time: last.time });
    return { ...this.show(last.after), text: last.text };
  }

  op_history() {
    const row = (undone, from) => ({ text, time }, at) => ({ n: from + at + 1, text, time, undone });
    const done = this.history.map(row(false, 0));
    return { rows: [...done, ...[...this.undone].reverse().map(row(true, done.length))] };
  }

  op_pause(args) {
    return this.pausing(args, true);
  }

  op_resume(args) {
    return this.pausing(args, false);
  }

  pausing({ sockets = [], processors = [] }, paused) {
    const next = structuredClone(this.graph);
    for (const name of sockets) need(next, name).paused = paused;
    for (const name of processors) next.processors[name].paused = paused;
    this.show(next);
    this.onCounts();
    return {};
  }

  // a cell has run, and made a socket of its function
  declare(name, signature = [], more = {}) {
    const task = { version: 1, source: `def ${name}(): ...`, file: 'cell', signature, stale: [], generator: false, parked: false };
    const socket = { processor: 'main', paused: false, threads: 1, retries: 0, timeout: null, fixed: {}, returns: null, doc: '', placed: false, box: [0, 0, 232, 176], task };
    const next = structuredClone(this.graph);
    next.sockets[name] = { ...(next.sockets[name] ?? {}), ...socket, ...more };
    return this.commit(layout(next), `socket ${name}`);
  }

  op_versions({ socket }) {
    const { task } = need(this.graph, socket);
    const old = this.versions?.[socket] ?? [];
    return { rows: [...old, { version: task.version, created: Date.now() / 1000, client: 'flow.ipynb', file: '', source: task.source }] };
  }

  // as the kernel of the notebook does: what is no Python is refused with its line
  op_redefine({ socket, source }) {
    const wrong = source.split('\n').findIndex(line => line.includes('?'));
    if (wrong >= 0) throw Object.assign(new Error('SyntaxError: invalid syntax'), { line: wrong + 1 });
    const next = structuredClone(this.graph);
    const { task } = need(next, socket);
    (this.versions ??= {})[socket] = this.op_versions({ socket }).rows;
    Object.assign(task, { source, version: task.version + 1 });
    this.commit(next, `socket ${socket} v${task.version}`);
    return { version: task.version };
  }

  op_when({ text, ...ends }) {
    if (text.includes('?')) throw new Error(`when '${text}' is no expression: invalid syntax`);
    const next = structuredClone(this.graph);
    const made = next.plugs.find(p => ['source', 'target', 'argument', 'on'].every(key => p[key] === ends[key]));
    made.when = text.trim() || null;
    this.commit(next, 'when');
    return {};
  }

  op_key({ socket, text }) {
    const next = structuredClone(this.graph);
    need(next, socket).key = text.trim() || null;
    this.commit(next, 'key');
    return {};
  }

  op_start() {
    return {};
  }

  op_submit({ socket, arguments: texts, partial = false }) {
    const { task, fixed } = need(this.graph, socket);
    const values = {};
    for (const { name, required } of task.signature) {
      if (name in texts) values[name] = literal(texts[name], name);
      else if (required && !partial && !(name in fixed)) throw new Error(`${socket} needs ${name}`);
    }
    return { request: this.request(socket, 'queued', values).id };
  }

  op_requests(wanted) {
    return { rows: this.matching(wanted).map(sent) };
  }

  matching({ socket, state, ids, run, limit, before, after, newest }) {
    const of = one => (!socket || one.socket === socket) && (!state || one.state === state) && (!run || (one.run ?? one.id) === run);
    const within = one => (!before || one.id < before) && (!after || one.id > after);
    const wanted = one => of(one) && within(one) && (!ids || ids.includes(one.id));
    const rows = this.requests.filter(wanted);
    return (newest ? rows.reverse() : rows).slice(0, limit);
  }

  op_beside({ socket, id = null, run }) {
    const found = this.matching({ socket, run, state: 'done' });
    const at = id === null ? found.length - 1 : found.findLastIndex(other => other.id <= id);
    const beside = { older: found[at - 1]?.id ?? null, newer: found[at + 1]?.id ?? null };
    const one = found[at];
    const row = one ? { id: one.id, run: one.run ?? one.id, started: one.started ?? null, finished: one.finished ?? null } : null;
    return { asked: id, row, ...beside, behind: found.length - 1 - at, of: found.length };
  }

  // two are looked through at once
  op_find_value({ find, after, ...more }) {
    const rows = this.matching({ ...more, after, state: 'done', newest: !after, limit: 2 });
    const hit = rows.find(one => this.shown(one.result).text.toLowerCase().includes(find.toLowerCase()));
    return { request: hit?.id ?? null, until: !hit && rows.length === 2 ? rows[1].id : null, large: 0 };
  }

  op_request({ id }) {
    const found = this.found(id);
    const values = Object.entries(found.values).map(([name, value]) => [name, this.shown(value)]);
    return { row: sent(found), error: found.error ?? null, arguments: Object.fromEntries(values), output: found.output, attempts: [] };
  }

  op_retry({ ids, socket, arrivals }) {
    if (arrivals) {
      for (const one of this.arrivals) if (arrivals.includes(one.id)) delete one.aside;
      this.onCounts();
      return { ids: [] };
    }
    const failed = this.requests.filter(one => one.state === 'failed' && (ids ? ids.includes(one.id) : one.socket === socket));
    for (const one of failed) Object.assign(one, { state: 'queued', error: null, attempt: one.attempt + 1 });
    this.onCounts();
    return { ids: failed.map(one => one.id) };
  }

  op_cancel({ ids }) {
    const open = this.requests.filter(one => ids.includes(one.id) && ['queued', 'delayed', 'asked', 'running'].includes(one.state));
    for (const one of open) one.state = 'cancelled';
    this.onCounts();
    return { cancelled: open.length };
  }

  op_waiting({ socket }) {
    const { ask } = need(this.graph, socket).task;
    const asked = this.requests.filter(one => one.socket === socket && one.state === 'asked');
    if (ask) return { rows: asked.map(one => ({ request: one.id, run: one.id, party: one.id, ask, arguments: one.values, since: one.created, until: null })) };
    const parties = new Set(this.arrivals.filter(one => one.socket === socket).map(one => one.party));
    return { rows: [...parties].map(party => this.row(socket, party)) };
  }

  arrival({ id, source, request, since, value }) {
    const { type, size } = this.shown(value);
    return { id, source, request, since, type, size };
  }

  row(socket, party) {
    const needed = this.needed(socket);
    const of = name => {
      const here = this.arrivals.filter(one => one.socket === socket && one.party === party && one.argument === name);
      return { state: here.length ? 'arrived' : 'missing', arrivals: here.map(one => this.arrival(one)) };
    };
    const aside = this.arrivals.find(one => one.socket === socket && one.party === party && one.aside)?.aside;
    const table = Object.fromEntries(needed.map(name => [name, of(name)]));
    return { run: party, party, tag: '', element: [], arguments: table, stranded: false, request: null, lacks: {}, ...(aside && { aside }) };
  }

  op_preview({ arrival, request, result, socket, argument, element }) {
    const { elements } = result ? this.found(request) : {};
    if (elements) {
      const at = element ?? elements.length - 1;
      return { ...this.shown(elements[at]), element: at, elements: elements.length };
    }
    if (request && argument && argument in this.found(request).values) return this.shown(this.found(request).values[argument]);
    if (arrival) return this.shown(this.arrivals.find(one => one.id === arrival)?.value);
    if (socket && !request) {
      const newest = this.requests.filter(one => one.socket === socket && one.state === 'done').pop();
      if (!newest) throw new Error(`no result of '${socket}'`);
      return { ...this.shown(newest.result), request: newest.id };
    }
    return result ? this.shown(this.found(request).result) : this.shown(null);
  }

  op_supply({ socket, party, argument, text }) {
    this.arrive(socket, argument, literal(text, argument), party);
    return {};
  }

  op_discard({ arrivals = [], request }) {
    this.arrivals = this.arrivals.filter(one => !arrivals.includes(one.id));
    if (request) this.found(request).state = 'skipped';
    this.onCounts();
    return {};
  }

  op_rates() {
    const of = name => ({ per_second: this.counts(name).done / 60, p50: 0.012, p95: 0.45 });
    return { sockets: Object.fromEntries(Object.keys(this.graph.sockets).map(name => [name, of(name)])) };
  }

  op_statistics() {
    const now = Date.now() / 1000;
    const row = name => {
      const { done, failed, queued, running } = this.counts(name);
      const times = { p50: 0.012, p95: 0.45, waited_p50: 0.001, waited_p95: 0.02 };
      const ended = { ended: done + failed, failed, per_second: (done + failed) / 60, pulse: [0, done] };
      return { of: 'socket', name, ...ended, ...times, queued, most_queued: queued, running, cpu: running, memory: 0 };
    };
    return { time: now, began: now - 60, step: 30, points: 120, rows: Object.keys(this.graph.sockets).map(row) };
  }

  op_log({ socket, run, request }) {
    const of = one => (!socket || one.socket === socket) && (!run || (one.run ?? one.id) === run) && (!request || one.id === request);
    const lines = this.requests.filter(of).flatMap(({ id, socket, run = id, error, output, created }) => {
      const said = (level, kind, text) => ({ time: created, level, kind, socket, request: id, run, text });
      const printed = output.map(([stream, text]) => said('info', stream, text));
      return error ? [...printed, said('error', 'failed', `${error.type}: ${error.message}`)] : printed;
    });
    return { lines, older: null };
  }

  op_code() {
    return { text: this.graph.plugs.map(p => `flow.plug("${p.source}", "${p.target}.${p.argument}")`).join('\n') };
  }

  op_svg() {
    return { text: '<svg xmlns="http://www.w3.org/2000/svg" width="320" height="200"><circle r="9"/></svg>' };
  }

  op_save() {
    return { text: JSON.stringify(this.graph) };
  }

  // -- what happens in the flow, for tests to bring about
  arrive(socket, argument, value, party = 1, source = null) {
    this.arrivals.push({ id: ++this.number, socket, argument, value, party, source, request: null, since: Date.now() / 1000 - 90 });
    const here = this.arrivals.filter(one => one.socket === socket && one.party === party);
    if (this.needed(socket).every(name => here.some(one => one.argument === name))) {
      this.arrivals = this.arrivals.filter(one => !here.includes(one));
      this.request(socket, 'queued', Object.fromEntries(here.map(one => [one.argument, one.value])));
    }
    this.onCounts();
  }

  request(socket, state, values = {}, more = {}) {
    const created = Date.now() / 1000 - 5;
    const made = { id: ++this.number, socket, state, values, attempt: 1, created, started: null, finished: null, output: [], ...more };
    this.requests.push(made);
    this.onCounts();
    return made;
  }

  /** What calls a socket by itself. */
  ticks(socket, text) {
    const made = { id: ++this.number, name: socket, socket, every: 300, cron: null, zone: null, missed: 'once', since: 0, paused: false, text };
    this.show({ ...this.graph, schedules: [...(this.graph.schedules ?? []), made] });
  }

  // what becomes of a node
  node(name, facts) {
    const nodes = this.graph.nodes.map(one => (one.name === name ? { ...one, ...facts } : one));
    this.show({ ...this.graph, nodes });
    this.onCounts();
  }

  fail(socket, type, message, values = {}, more = {}) {
    const traceback = `Traceback (most recent call last):\n  File "flow.ipynb", line 3, in ${socket}\n    return 1 / x\n${type}: ${message}`;
    const times = { started: Date.now() / 1000 - 2, finished: Date.now() / 1000 };
    return this.request(socket, 'failed', values, { error: { type, message, traceback }, output: [['stdout', 'dividing\n']], ...times, ...more });
  }

  // a task says how far it is
  say(id, done, total = null, text = '') {
    this.found(id).progress = { done, total, text };
    this.onCounts();
  }

  finish(id, result) {
    Object.assign(this.found(id), { state: 'done', result, started: 1, finished: 2 });
    this.onCounts();
  }

  // a call that gave what a worker shows as this
  give(socket, shown, more = {}) {
    const made = this.request(socket, 'done', {}, { result: { shown }, started: Date.now() / 1000 - 1, finished: Date.now() / 1000, ...more });
    made.run ??= made.id;
    return made.id;
  }

  metrics() {
    const sockets = Object.keys(this.graph.sockets);
    const running = this.requests.filter(one => one.state === 'running').length;
    return {
      seq: ++this.seq,
      full: true,
      time: Date.now() / 1000,
      sockets: Object.fromEntries(sockets.map(name => [name, this.counts(name)])),
      processors: Object.fromEntries(Object.entries(this.graph.processors).map(([name, of]) => [name, this.busy(name, of)])),
      plugs: this.depths,
      nodes: this.graph.nodes.map((node, at) => ({ ...node, used: at ? 0 : running })),
      idle: false
    };
  }

  busy(name, { cpus, paused }) {
    const own = this.requests.filter(one => this.graph.sockets[one.socket]?.processor === name);
    const count = state => own.filter(one => one.state === state).length;
    const runs = Object.entries(this.graph.sockets).map(([socket, { concurrent = 1 }]) =>
      Math.ceil(own.filter(one => one.socket === socket && one.state === 'running').length / concurrent)
    );
    const workers = runs.reduce((sum, n) => sum + n, 0);
    return { cpus, paused, running: count('running'), queued: count('queued'), workers };
  }

  counts(socket) {
    const own = this.requests.filter(one => one.socket === socket);
    const count = state => own.filter(one => one.state === state).length;
    const arrived = {};
    for (const one of this.arrivals) if (one.socket === socket) arrived[one.argument] = (arrived[one.argument] ?? 0) + 1;
    const progress = own.find(one => one.state === 'running' && one.progress)?.progress ?? null;
    const states = ['waiting', 'queued', 'delayed', 'asked', 'running', 'done', 'failed', 'cancelled', 'skipped'];
    return { ...Object.fromEntries(states.map(state => [state, count(state)])), arrived, progress, aside: this.asides?.[socket] };
  }

  needed(socket) {
    const { task, fixed } = need(this.graph, socket);
    const plugged = name => this.graph.plugs.some(p => p.target === socket && p.argument === name);
    return task.signature.filter(one => plugged(one.name) || (one.required && !(one.name in fixed))).map(one => one.name);
  }

  found(id) {
    const found = this.requests.find(one => one.id === id);
    if (!found) throw new Error(`no request ${id}`);
    return found;
  }

  shown(value) {
    if (value?.shown) return value.shown;
    const text = JSON.stringify(value ?? null);
    return { text, type: typeof value === 'number' ? 'int' : 'str', size: text.length };
  }
}

Object.assign(Flow.prototype, story);
