/** What a cell's output keeps of a picture, as `notebook/output.py` writes it. */

export const MARK = 'application/vnd.ec.flow+json';
export const VIEW = 'application/vnd.jupyter.widget-view+json';
export const SVG = 'image/svg+xml';

export interface Mark {
  flow: string;
  /** Where the flow lives, if not where a flow of that name belongs. */
  folder?: string;
  /** The widget that shows it, in the kernel that ran the cell. */
  model_id?: string;
}

/** What a kernel runs to show the flow anew. JSON's texts are Python's, too. */
export function showing({ flow, folder }: Mark): string {
  const where = folder ? `, folder=${JSON.stringify(folder)}` : '';
  return `__import__("ec_jupyter").flow(${JSON.stringify(flow)}${where}).editor`;
}
