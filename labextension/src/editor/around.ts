/** Which front end a picture stands in, and what it cannot do there. */

/** One line for who reads the help, or null where nothing is amiss. */
export function missing(): string | null {
  const cell = 'Edits wait until a running cell has ended, and a new socket’s cell is copied, not added.';
  const python = 'A tab, renaming and deleting of flows are JupyterLab’s; flow.rename and the rest do it in Python.';
  if (document.body.dataset['vscodeThemeKind']) return `In VS Code: ${cell} ${python}`;
  if (/googleusercontent\.com$|(^|\.)colab\./.test(location.hostname)) return `In Colab: ${cell} ${python}`;
  return null;
}
