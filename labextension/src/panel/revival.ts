/** A notebook's picture whose kernel was restarted comes back with one click: its cell shows the flow's editor anew. */

import type { JupyterFrontEnd } from '@jupyterlab/application';

/** What we use of a notebook in the main area; others have none of it. */
interface NotebookLike {
  content?: { widgets?: CellLike[] };
  sessionContext?: { session?: { kernel?: { requestExecute(content: { code: string }): unknown } | null } | null };
}

interface CellLike {
  node?: HTMLElement;
  outputArea?: { future: unknown; model: { clear(): void } };
}

export function listenForRevivals(app: JupyterFrontEnd): void {
  document.body.dataset['ecRevive'] = 'true';
  document.addEventListener('ec-revive', event => {
    const { target, detail } = event as CustomEvent<string>;
    for (const widget of app.shell.widgets('main')) {
      const { content, sessionContext } = widget as NotebookLike;
      const cell = content?.widgets?.find(one => one.node?.contains(target as Node));
      const kernel = sessionContext?.session?.kernel;
      if (!cell?.outputArea || !kernel) continue;
      const code = `%load_ext ec_jupyter\nimport ec_jupyter\nec_jupyter.flow(${JSON.stringify(detail)}).editor`;
      cell.outputArea.model.clear();
      cell.outputArea.future = kernel.requestExecute({ code });
    }
  });
}
