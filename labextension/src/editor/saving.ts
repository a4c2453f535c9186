/** Files a person takes away, and the picture on the whole screen. */

import type { Store } from './store';

/** A picture is drawn twice as fine as on screen, and no side of it has more pixels than any browser draws. */
const SCALE = 2;
const LARGEST = 8192;

export async function svgOf(store: Store): Promise<void> {
  const text = await textOf(store, 'svg');
  if (text !== null) keep(store, new Blob([text], { type: 'image/svg+xml' }), 'svg');
}

export async function jsonOf(store: Store): Promise<void> {
  const text = await textOf(store, 'save');
  if (text !== null) keep(store, new Blob([text], { type: 'application/json' }), 'json');
}

export async function pngOf(store: Store): Promise<void> {
  const text = await textOf(store, 'svg');
  if (text === null) return;
  try {
    keep(store, await drawn(text), 'png');
  } catch (error) {
    store.say(`there is no PNG: ${(error as Error).message}; export it as SVG`);
  }
}

async function textOf(store: Store, op: 'svg' | 'save'): Promise<string | null> {
  const folded = [...store.view.folded].filter(id => id.startsWith('g:')).map(id => id.slice(2));
  const answer = await store.ask(op, op === 'svg' && folded.length ? { folded } : {});
  return answer && String(answer['text']);
}

function keep(store: Store, data: Blob, ending: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(data);
  link.download = `${store.graph?.flow ?? 'flow'}.${ending}`;
  link.click();
  URL.revokeObjectURL(link.href);
  store.say(`${link.download} is downloaded`);
}

/** As an image: nothing in it runs, and nothing is fetched for it. */
async function drawn(svg: string): Promise<Blob> {
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  await image.decode();
  const [width, height] = [image.naturalWidth || 1, image.naturalHeight || 1];
  const scale = Math.min(SCALE, LARGEST / Math.max(width, height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.getContext('2d')!.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((take, refuse) =>
    canvas.toBlob(blob => (blob ? take(blob) : refuse(new Error('this browser draws none so large'))), 'image/png')
  );
}

export async function fullScreen(store: Store): Promise<void> {
  if (document.fullscreenElement) return document.exitFullscreen();
  await store.box?.requestFullscreen().catch(() => store.say('this page may not fill the screen'));
}
