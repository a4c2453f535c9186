/** Puts an editor into an element. */

import { createRoot } from 'react-dom/client';
import { StoreContext } from './context';
import { Editor } from './Editor';
import { Store } from './store';
import type { Host } from './types';

/** Draws the flow of `host` inside `element`; the function it returns takes everything away again. */
export function mount(element: HTMLElement, host: Host): () => void {
  // a box of our own: what hands us the element owns its style, and may clear a height we gave it
  const box = document.createElement('div');
  box.className = 'ec-box';
  element.append(box);
  box.addEventListener('beforeinput', keepInput, true);
  const store = new Store(host);
  const root = createRoot(box);
  root.render(
    <StoreContext.Provider value={store}>
      <Editor />
    </StoreContext.Provider>
  );
  const stop = watch(box, host);
  return () => {
    stop();
    root.unmount();
    store.close();
    box.remove();
  };
}

/** JupyterLab has Enter and undo do nothing in a field within a cell, from a listener at the field itself. */
function keepInput(event: Event): void {
  if (event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement) event.stopPropagation();
}

/** Tells the host whether anybody can see the box. */
function watch(box: HTMLElement, host: Host): () => void {
  let onScreen = false;
  const tell = () => host.look(onScreen && !document.hidden);
  const observer = new IntersectionObserver(entries => {
    onScreen = entries[entries.length - 1]!.isIntersecting;
    tell();
  });
  observer.observe(box);
  document.addEventListener('visibilitychange', tell);
  return () => {
    observer.disconnect();
    document.removeEventListener('visibilitychange', tell);
    host.look(false);
  };
}
