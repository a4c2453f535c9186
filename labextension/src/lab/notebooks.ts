/** Cells of an open notebook: found by the code of a task, shown, changed, added. */

import type { NotebookPanel } from '@jupyterlab/notebook';

/** The folder of a notebook or flow, as the server's root sees it. */
export const folderOf = (path: string): string => path.replace(/[^/]*$/, '').replace(/\/$/, '');

/** Index of the cell that has these lines; else of the last that defines a function of that name; -1 where none does. */
export function cellOf(panel: NotebookPanel, socket: string, source: string): number {
  const texts = [...(panel.content.model?.cells ?? [])].map(cell => (cell.type === 'code' ? cell.sharedModel.getSource() : ''));
  const exact = texts.findIndex(text => source.trim() !== '' && text.includes(source.trim()));
  const defines = new RegExp(`^\\s*(async\\s+)?def\\s+${socket}\\b|^%%ec_socket\\b.*\\s${socket}(\\s|$)`, 'm');
  return exact >= 0 ? exact : texts.findLastIndex(text => defines.test(text));
}

export function reveal({ content }: NotebookPanel, index: number): void {
  content.activeCellIndex = index;
  content.deselectAll();
  void content.scrollToItem(index, 'smart');
}

/** False where the cell has other lines by now. */
export function rewrite({ content }: NotebookPanel, index: number, was: string, now: string): boolean {
  const shared = content.model!.cells.get(index).sharedModel;
  const text = shared.getSource();
  if (!text.includes(was.trim())) return false;
  shared.setSource(text.replace(was.trim(), () => now.trim()));
  return true;
}

/** Below the cell whose output shows the picture, else below the one that is active. */
export function insert({ content }: NotebookPanel, at: HTMLElement, source: string): void {
  const shown = content.widgets.findIndex(cell => cell.node.contains(at));
  const index = (shown >= 0 ? shown : content.activeCellIndex) + 1;
  content.model!.sharedModel.insertCell(index, { cell_type: 'code', source });
  reveal({ content } as NotebookPanel, index);
}
