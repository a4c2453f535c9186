/** A picture without a flow behind it, as an exported page shows it. */

import type { Answer, Graph, Host, Life } from '../editor/types';

const nothing = (): (() => void) => () => undefined;

export function staticHost(graph: Graph): Host {
  return {
    graph: () => graph,
    onGraph: nothing,
    onMetrics: nothing,
    life: (): Life => 'static',
    onLife: nothing,
    command: (): Promise<Answer> => Promise.resolve({ ok: false, error: 'this is a picture; open the notebook to change it' }),
    look: () => undefined
  };
}
