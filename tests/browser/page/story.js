// What happened in a flow in memory, told as an engine tells it: runs, ways, bars, the past.

const RUNNING = ['queued', 'running'];

const counted = rows => rows.reduce((found, { state }) => ({ ...found, [state]: (found[state] ?? 0) + 1 }), {});

function stateOf(rows, arrived) {
  if (rows.some(one => RUNNING.includes(one.state))) return 'running';
  if (rows.some(one => one.state === 'failed')) return 'failed';
  return arrived || rows.some(one => one.state === 'waiting') ? 'waiting' : 'done';
}

export const story = {
  runOf(id) {
    const found = this.found(id);
    return found.run ?? found.id;
  },

  ofRun(run) {
    return this.requests.filter(one => (one.run ?? one.id) === run);
  },

  op_runs({ before, find = '', state, limit }) {
    const roots = [...new Set(this.requests.map(one => one.run ?? one.id))].sort((a, b) => b - a);
    const number = /^\d+$/.test(find) ? this.runOf(Number(find)) : null;
    const rows = roots
      .map(run => {
        const [own, arrived] = [this.ofRun(run), this.arrivals.filter(one => one.party === run).length];
        return { run, socket: own[0].socket, created: own[0].created, counts: counted(own), arrived, state: stateOf(own, arrived) };
      })
      .filter(row => (number ? row.run === number : row.socket.includes(find)))
      .filter(row => (!state || row.state === state) && (!before || row.run < before));
    return { rows: rows.slice(0, limit), next: rows.length > limit ? rows[limit - 1].run : null };
  },

  op_way({ id }) {
    const run = this.runOf(id);
    const own = this.ofRun(run);
    const sockets = {};
    for (const { socket, state } of own) sockets[socket] = { ...sockets[socket], [state]: (sockets[socket]?.[state] ?? 0) + 1 };
    const plugs = {};
    const carries = (source, target, argument) => {
      const plug = this.graph.plugs.find(p => p.source === source && p.target === target && p.argument === argument);
      if (plug) plugs[plug.id] = (plugs[plug.id] ?? 0) + 1;
    };
    for (const { socket, met = {} } of own) {
      for (const [argument, from] of Object.entries(met)) from.forEach(one => carries(this.found(one).socket, socket, argument));
    }
    const waits = {};
    for (const { socket, argument, party, source } of this.arrivals) {
      if (party !== run) continue;
      waits[`${socket} ${argument}`] = (waits[`${socket} ${argument}`] ?? 0) + 1;
      if (source) carries(source, socket, argument);
    }
    const waiting = Object.entries(waits).map(([key, count]) => [...key.split(' '), count]);
    return { run, sockets, plugs, waits: waiting, more: false, state: stateOf(own, waiting.length), counts: counted(own) };
  },

  op_lineage({ id }) {
    const edges = this.requests.flatMap(({ id: target, met = {} }) =>
      Object.entries(met).flatMap(([argument, from]) => from.map(source => [source, target, argument]))
    );
    const walk = (from, to) => {
      const seen = new Set([id]);
      for (const one of seen) for (const edge of edges) if (edge[from] === one) seen.add(edge[to]);
      return edges.filter(edge => seen.has(edge[from]));
    };
    const some = [...walk(1, 0), ...walk(0, 1)];
    const ids = new Set([id, ...some.flatMap(([source, target]) => [source, target])]);
    return { edges: some, sockets: Object.fromEntries([...ids].map(one => [one, this.found(one).socket])) };
  },

  op_timeline({ before, run, limit }) {
    const all = [...this.requests].reverse().filter(one => one.started && (!run || (one.run ?? one.id) === run));
    const rest = all.filter(one => !before || one.id < before);
    const rows = rest.slice(0, limit);
    const sockets = Object.keys(this.graph.sockets);
    const columns = {
      id: rows.map(one => one.id),
      run: rows.map(one => one.run ?? one.id),
      socket: rows.map(one => sockets.indexOf(one.socket)),
      state: rows.map(one => one.state),
      attempt: rows.map(one => one.attempt),
      node: rows.map(() => 'local'),
      slot: rows.map(one => one.slot ?? 0),
      started: rows.map(one => one.started),
      seconds: rows.map(one => (one.finished ? one.finished - one.started : null))
    };
    const processors = sockets.map(name => this.graph.sockets[name].processor);
    return { columns, sockets, processors, next: rest.length > limit ? rows[limit - 1].id : null, now: Date.now() / 1000 };
  },

  op_since() {
    const revisions = this.history.map(({ text, time }, at) => ({ n: at + 2, text, time }));
    return { from: Math.min(...revisions.map(one => one.time), ...this.requests.map(one => one.created), Date.now() / 1000 - 60), to: Date.now() / 1000, revisions };
  },

  op_past({ time }) {
    const at = this.history.findIndex(one => one.time > time);
    const graph = structuredClone(at < 0 ? this.graph : this.history[at].before);
    const newest = {};
    const then = Object.fromEntries(Object.keys(graph.sockets).map(name => [name, this.countsThen(name, time, newest)]));
    const metrics = { ...this.metrics(), sockets: then, plugs: {}, time };
    return { graph, metrics, revision: graph.revision, newest, whole: true };
  },

  countsThen(socket, time, newest) {
    const states = { waiting: 0, queued: 0, running: 0, done: 0, failed: 0, cancelled: 0, skipped: 0, arrived: {} };
    for (const one of this.requests.filter(row => row.socket === socket && row.created <= time)) {
      const was = one.finished && one.finished <= time ? one.state : one.started && one.started <= time ? 'running' : 'queued';
      states[was] += 1;
      if (was === 'done') newest[socket] = one.id;
    }
    return states;
  },

  async op_part({ name }) {
    return { text: await (await fetch(`/static/${name}.js`)).text() };
  },

  // `count` calls on some CPUs, one after the other
  worked(count, cpus = 4) {
    const sockets = Object.keys(this.graph.sockets);
    const first = this.requests.length;
    for (let at = 0; at < count; at++) {
      const [slot, turn] = [at % cpus, Math.floor(at / cpus)];
      const started = 1_750_000_000 + turn * 0.5 + slot * 0.07;
      const took = 0.1 + ((at * 7919) % 37) / 100;
      const made = { id: ++this.number, socket: sockets[at % sockets.length], state: at % 97 === 50 ? 'failed' : 'done', values: {} };
      this.requests.push({ ...made, attempt: 1, created: started - 0.1, started, finished: started + took, output: [], slot });
    }
    this.onCounts();
    return this.requests[first].id;
  }
};
