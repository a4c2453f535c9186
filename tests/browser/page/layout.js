// Places for cards: one row of columns for each processor, columns by how far a socket is from its sources.

export function layout(graph) {
  const rank = {};
  const rankOf = name => {
    if (name in rank) return rank[name];
    rank[name] = 0;
    const before = graph.plugs.filter(p => p.target === name && graph.sockets[p.source]).map(p => rankOf(p.source) + 1);
    return (rank[name] = Math.max(0, ...before));
  };
  let top = 0;
  for (const processor of Object.keys(graph.processors)) {
    const own = Object.entries(graph.sockets).filter(([, socket]) => socket.processor === processor);
    if (!own.length) continue;
    const columns = new Map();
    const ranks = [...new Set(own.map(([name]) => rankOf(name)))].sort((a, b) => a - b);
    let bottom = top;
    for (const [name, socket] of own) {
      // long chains wrap, or 200 of them would be one line
      const at = ranks.indexOf(rankOf(name)) % 9;
      const y = columns.get(at) ?? top;
      socket.box = [at * 320, y, socket.box[2], socket.box[3]];
      columns.set(at, y + socket.box[3] + 32);
      bottom = Math.max(bottom, y + socket.box[3]);
    }
    top = bottom + 110;
  }
  return graph;
}
