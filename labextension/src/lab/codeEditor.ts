/** JupyterLab's own editor of code, inside a picture. */

import { CodeEditor, type IEditorServices } from '@jupyterlab/codeeditor';

export function editorIn(
  { factoryService }: IEditorServices,
  host: HTMLElement,
  text: string,
  changed: (text: string) => void,
  end: AbortSignal
): void {
  const model = new CodeEditor.Model({ mimeType: 'text/x-python' });
  model.sharedModel.setSource(text);
  const editor = factoryService.newInlineEditor({ host, model, config: { lineNumbers: true } });
  model.sharedModel.changed.connect(() => changed(model.sharedModel.getSource()));
  end.addEventListener('abort', () => {
    editor.dispose();
    model.dispose();
  });
}
