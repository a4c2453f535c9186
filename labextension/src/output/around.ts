/** What stands around an output in JupyterLab and Notebook: its output area, its document, its kernel. */

import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import type { Kernel } from '@jupyterlab/services';
import type { ISignal } from '@lumino/signaling';
import type { Widget } from '@lumino/widgets';

/** What we use of them: a console, a notebook and a view of one output have these. */
interface OutputModel extends IRenderMime.IMimeModel {
  toJSON(): Record<string, unknown>;
}

export interface OutputArea extends Widget {
  rendermime: {
    getFactory(mimeType: string): IRenderMime.IRendererFactory | undefined;
    createRenderer(mimeType: string): IRenderMime.IRenderer;
  };
  model: { length: number; get(at: number): OutputModel; set(at: number, output: unknown): void };
}

interface Document extends Widget {
  context: { save(): Promise<void>; saveState: ISignal<unknown, string> };
}

interface Session extends Widget {
  sessionContext: {
    session: { kernel: Kernel.IKernelConnection | null } | null;
    startKernel(): Promise<boolean>;
  };
}

function above<T extends Widget>(widget: Widget, ...has: string[]): T | null {
  for (let one = widget.parent; one; one = one.parent) {
    if (has.every(name => name in one!)) return one as T;
  }
  return null;
}

export const areaOf = (widget: Widget) => above<OutputArea>(widget, 'rendermime', 'model');
export const documentOf = (widget: Widget) => above<Document>(widget, 'context')?.context;

/** The kernel of a widget's document; where there is none, one is started as for a cell. */
export async function kernelOf(widget: Widget): Promise<Kernel.IKernelConnection> {
  const context = above<Session>(widget, 'sessionContext')?.sessionContext;
  if (context && !context.session?.kernel) await context.startKernel();
  const kernel = context?.session?.kernel;
  if (!kernel) throw new Error('this document has no kernel; choose one and try again');
  return kernel;
}

/** Change the data of an output in place, so that they are saved with the document. */
export function replaceData(area: OutputArea | null, model: IRenderMime.IMimeModel, data: IRenderMime.IMimeModel['data']): void {
  for (let at = 0; area && at < area.model.length; at++) {
    const one = area.model.get(at);
    if (one === model) return area.model.set(at, { ...one.toJSON(), data });
  }
}

/** The data that a piece of code shows in a kernel; its error, in one line, is thrown. */
export async function shownBy(kernel: Kernel.IKernelConnection, code: string): Promise<Record<string, unknown> | null> {
  let shown: Record<string, unknown> | null = null;
  let error = '';
  const future = kernel.requestExecute({ code, store_history: false });
  future.onIOPub = ({ header, content }) => {
    const said = content as { data?: Record<string, unknown>; ename?: string; evalue?: string };
    if (header.msg_type === 'error') error = `${said.ename}: ${said.evalue}`;
    if (header.msg_type === 'display_data' || header.msg_type === 'execute_result') shown = said.data ?? null;
  };
  await future.done;
  if (error) throw new Error(error.split('\n')[0]);
  return shown;
}
