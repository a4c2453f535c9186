/** Answers what pictures ask of the JupyterLab around them: a tab, a cell, the place of a task, its own editor of code. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { IEditorServices } from '@jupyterlab/codeeditor';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { ASK, type LabQuestion } from '../editor/lab';
import type { Answer } from '../editor/types';
import { commandOf, type Verb } from '../panel/manage';
import type { FlowRow, Flows } from '../panel/service';
import { editorIn } from './codeEditor';
import { cellOf, folderOf, insert, reveal, rewrite } from './notebooks';

interface Lab {
  app: JupyterFrontEnd;
  flows: Flows;
  open: (key: string) => void;
  notebooks: INotebookTracker | null;
  editors: IEditorServices | null;
}

type Asked = LabQuestion & { at: HTMLElement };

export function answerPictures(lab: Lab): void {
  document.body.dataset['ecLab'] = '';
  document.addEventListener(ASK, event => {
    const detail = (event as CustomEvent<LabQuestion>).detail;
    detail.answer = answers[detail.what](lab, { ...detail, at: event.target as HTMLElement }).catch((error: Error) => ({
      ok: false,
      error: error.message
    }));
  });
}

const answers: Record<LabQuestion['what'], (lab: Lab, asked: Asked) => Promise<Answer>> = {
  async tab(lab, asked) {
    lab.open((await rowOf(lab, asked)).key);
    return { ok: true };
  },
  async manage(lab, asked) {
    const key = asked.at.closest<HTMLElement>('.ec-tab')?.dataset['key'] ?? (await rowOf(lab, asked)).key;
    await lab.app.commands.execute(commandOf(asked.args['verb'] as Verb), { key });
    return { ok: true };
  },
  async cell(lab, asked) {
    const panel = around(lab, asked.at) ?? (await notebookOf(lab, asked));
    insert(panel, asked.at, withFlow(String(asked.args['code']), asked.flow, panel));
    lab.app.shell.activateById(panel.id);
    return { ok: true };
  },
  async jump(lab, asked) {
    const { panel, index } = await placeOf(lab, asked, String(asked.args['source']));
    lab.app.shell.activateById(panel.id);
    reveal(panel, index);
    return { ok: true };
  },
  async write(lab, asked) {
    const was = String(asked.args['was']);
    const { panel, index } = await placeOf(lab, asked, was);
    return { ok: rewrite(panel, index, was, String(asked.args['now'])) };
  },
  async editor(lab, asked) {
    if (!lab.editors) return { ok: false };
    const { host, text, changed, end } = asked.args;
    editorIn(lab.editors, host as HTMLElement, String(text), changed as (text: string) => void, end as AbortSignal);
    return { ok: true };
  }
};

/** The notebook whose output the picture stands in. */
function around({ notebooks }: Lab, at: HTMLElement): NotebookPanel | null {
  return notebooks?.find(panel => panel.node.contains(at)) ?? null;
}

/** The flow as the server lists it: beside the notebook, or the only one of that name. */
async function rowOf(lab: Lab, { at, flow }: Asked): Promise<FlowRow> {
  await lab.flows.refresh();
  const named = lab.flows.rows.filter(row => row.name === flow);
  const panel = around(lab, at);
  const beside = panel && named.find(row => folderOf(row.path) === folderOf(panel.context.path));
  const found = beside ?? (named.length === 1 ? named[0] : undefined);
  if (found) return found;
  throw new Error(
    named.length
      ? `there are ${named.length} flows called ${flow}: open the one that is meant from the panel of flows`
      : `flow ${flow} is not under the folder of this server`
  );
}

/** An open notebook beside the flow that a tab shows; the current one, if it is one of several. */
async function notebookOf(lab: Lab, asked: Asked): Promise<NotebookPanel> {
  const key = asked.at.closest<HTMLElement>('.ec-tab')?.dataset['key'];
  const row = lab.flows.row(key ?? '') ?? (await rowOf(lab, asked));
  const beside = (panel: NotebookPanel) => folderOf(panel.context.path) === folderOf(row.path);
  const current = lab.notebooks?.currentWidget;
  const found = current && beside(current) ? current : lab.notebooks?.find(beside);
  if (!found) throw new Error(`no notebook beside flow ${asked.flow} is open: open the one that the cell is to be in`);
  return found;
}

async function placeOf(lab: Lab, asked: Asked, source: string): Promise<{ panel: NotebookPanel; index: number }> {
  const own = around(lab, asked.at);
  const panels: NotebookPanel[] = own ? [own] : [];
  lab.notebooks?.forEach(panel => panels.push(panel));
  const socket = String(asked.args['socket']);
  for (const panel of panels) {
    const index = cellOf(panel, socket, source);
    if (index >= 0) return { panel, index };
  }
  throw new Error(`no open notebook has the cell of ${socket}: open the one that declared it`);
}

/** A flow that is not the notebook's own is named in the line of the magic. */
function withFlow(code: string, flow: string, panel: NotebookPanel): string {
  const own = panel.context.path
    .replace(/^.*\//, '')
    .replace(/\.ipynb$/, '')
    .replace(/[^A-Za-z0-9_-]+/g, '_')
    .replace(/^_+|_+$/g, '');
  return own === flow ? code : code.replace(/^%%ec_socket/, `%%ec_socket --flow ${flow}`);
}
