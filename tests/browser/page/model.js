// The two ways a page reaches the flow: as anywidget's model, over messages; and as a host that can be revived.

const BEAT = 150;
const RECORDS = new Set(['log', 'statistics']);

class Beats {
  constructor(flow, send) {
    this.flow = flow;
    this.send = send;
    this.start();
    flow.onCounts = () => this.timer && send(flow.metrics());
  }

  start() {
    this.timer = setInterval(() => this.send(this.flow.metrics()), BEAT);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
  }
}

async function answer(flow, op, args) {
  try {
    return { ok: true, ...(await flow.command(op, args)) };
  } catch (error) {
    return { ok: false, error: error.message, ...(error.line && { line: error.line }) };
  }
}

export class WidgetModel {
  constructor(flow) {
    this.flow = flow;
    this.callbacks = {};
    this.held = null;
    this.looks = [];
    flow.onGraph = () => this.tell('change:graph');
    this.beats = new Beats(flow, metrics => this.tell('msg:custom', { k: 'metrics', ...structuredClone(metrics) }));
  }

  get(name) {
    return name === 'graph' ? structuredClone(this.flow.graph) : undefined;
  }

  on(event, callback) {
    (this.callbacks[event] ??= new Set()).add(callback);
  }

  off(event, callback) {
    this.callbacks[event]?.delete(callback);
  }

  tell(event, message) {
    for (const callback of this.callbacks[event] ?? []) callback(message);
  }

  send(content) {
    if (content.k === 'look') this.looks.push(content.visible);
    else if (content.k === 'hello') queueMicrotask(() => this.tell('msg:custom', { k: 'metrics', ...this.flow.metrics() }));
    else if (this.held) this.held.push(content);
    else if (this.beats.timer || this.saying) setTimeout(() => this.answer(content));
  }

  async answer({ id, op, args }) {
    // what is read of a flow's records is answered by the engine's own code, where a test has some
    if (window.records && RECORDS.has(op)) {
      this.flow.asked.push({ op, args });
      return window.records(op, args).then(found => this.tell('msg:custom', { k: 'answer', id, ...found }));
    }
    this.tell('msg:custom', { k: 'answer', id, ...(await answer(this.flow, op, args)) });
  }

  // a cell runs, and this kernel hears nothing meanwhile
  busy() {
    this.held = [];
  }

  free() {
    const held = this.held;
    this.held = null;
    held.forEach(content => this.answer(content));
  }

  // what the kernel says of the engine: its numbers come only while that runs
  engine(state, text = '') {
    if (state === 'running') this.beats.start();
    else this.beats.stop();
    clearInterval(this.saying);
    const say = () => this.tell('msg:custom', { k: 'engine', state, text, since: Date.now() / 1000 });
    say();
    if (state !== 'running') this.saying = setInterval(say, 1000);
  }

  // the kernel dies
  die() {
    this.beats.stop();
  }
}

export class RevivableHost {
  constructor(flow) {
    this.flow = flow;
    this.state = 'live';
    this.lives = new Set();
    this.metrics = new Set();
    this.graphs = new Set();
    flow.onGraph = graph => this.graphs.forEach(callback => callback(structuredClone(graph)));
    this.beats = new Beats(flow, metrics => this.metrics.forEach(callback => callback(structuredClone(metrics))));
  }

  graph() {
    return structuredClone(this.flow.graph);
  }

  onGraph(callback) {
    this.graphs.add(callback);
    return () => this.graphs.delete(callback);
  }

  onMetrics(callback) {
    this.metrics.add(callback);
    return () => this.metrics.delete(callback);
  }

  life() {
    return this.state;
  }

  onLife(callback) {
    this.lives.add(callback);
    return () => this.lives.delete(callback);
  }

  async command(op, args = {}) {
    return answer(this.flow, op, args);
  }

  part(name) {
    return import(`/static/${name}.js`);
  }

  look() {}

  become(state) {
    this.state = state;
    if (state === 'gone') this.beats.stop();
    else this.beats.start();
    this.lives.forEach(callback => callback(state));
  }

  revive() {
    this.become('live');
  }
}
