/** A picture in a cell's output: alive while its kernel is, else still, as it was saved, with a button that brings it to life. */

import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import type { Message } from '@lumino/messaging';
import { Panel } from '@lumino/widgets';
import { button, element } from '../panel/element';
import { areaOf, documentOf, kernelOf, replaceData, shownBy } from './around';
import { MARK, showing, SVG, VIEW, type Mark } from './mark';

type Data = IRenderMime.IMimeModel['data'];
type Saves = NonNullable<ReturnType<typeof documentOf>>;

export class FlowOutput extends Panel implements IRenderMime.IRenderer {
  private _model: IRenderMime.IMimeModel | null = null;
  private _live: IRenderMime.IRenderer | null = null;
  private _liveId = '';
  private _factory: IRenderMime.IRendererFactory | undefined;
  private _timer = 0;
  private _saves: Saves | null = null;
  private _saving = false;
  private _image = element('img');
  private _said = element('span', { role: 'status' });
  private _button = button('Bring to life', 'Bring to life', () => void this.revive());
  private _watch = new MutationObserver(() => this._look());

  constructor() {
    super();
    this.addClass('ec-output');
    const bar = element('div', { class: 'ec-output-bar' }, this._button, this._said);
    this.node.append(element('div', { class: 'ec-output-still' }, bar, this._image));
    // the picture of a kernel that went away while one looked asks for the same
    this.node.addEventListener('ec-revive', () => void this.revive());
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._model = model;
    const { flow } = this._mark;
    // as an image: it may be a stranger's, and nothing in it runs
    this._image.src = `data:image/svg+xml,${encodeURIComponent(String(model.data[SVG] ?? ''))}`;
    this._image.alt = `Picture of flow ${flow}`;
    this._said.textContent = `Flow ${flow} as it was saved.`;
    if (this.isAttached) this._liven();
    return Promise.resolve();
  }

  /** Show the flow by the kernel that is there now, in place of what was saved. */
  async revive(): Promise<void> {
    const model = this._model;
    if (!model || this._button.disabled) return;
    this._button.disabled = true;
    this._said.textContent = 'Asking the kernel…';
    try {
      const shown = await shownBy(await kernelOf(this), showing(this._mark));
      if (!shown?.[MARK]) throw new Error('the kernel showed no picture');
      replaceData(areaOf(this), model, shown as Data);
    } catch (error) {
      this._said.textContent = (error as Error).message;
    }
    this._button.disabled = false;
  }

  dispose(): void {
    window.clearInterval(this._timer);
    this._watch.disconnect();
    super.dispose();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._saves = documentOf(this) ?? null;
    this._saves?.saveState.connect(this._onSave, this);
    // a document's outputs may be drawn before its widgets have a manager, which then comes with a factory of its own
    this._timer = window.setInterval(() => this._editor || this._liven(), AGAIN);
    this._liven();
  }

  protected onBeforeDetach(message: Message): void {
    window.clearInterval(this._timer);
    this._saves?.saveState.disconnect(this._onSave, this);
    this._saves = null;
    super.onBeforeDetach(message);
  }

  private get _mark(): Mark {
    return this._model!.data[MARK] as unknown as Mark;
  }

  /** Let the widget's own renderer try: it draws once it has a model, now or when the kernel was found again. */
  private _liven(): void {
    const id = (this._model?.trusted && this._mark.model_id) || '';
    const kinds = areaOf(this)?.rendermime;
    const factory = kinds?.getFactory(VIEW);
    if (!kinds || !factory || (id === this._liveId && factory === this._factory)) return;
    this._factory = factory;
    this._watch.disconnect();
    this._live?.dispose();
    this._live = null;
    this._liveId = id;
    if (id) {
      const live = (this._live = kinds.createRenderer(VIEW));
      live.addClass('ec-output-live');
      this._watch.observe(live.node, { childList: true, subtree: true, attributeFilter: ['data-ec-unmet'] });
      this.addWidget(live);
      const view = { version_major: 2, version_minor: 0, model_id: id };
      void live.renderModel({ data: { [VIEW]: view }, metadata: {}, trusted: true, setData: () => undefined });
    }
    this._look();
  }

  private get _editor(): Element | null {
    // one that a saved state brought back, and no kernel, knows no numbers
    return this._live?.node.querySelector(':not([data-ec-unmet]) > .ec-box') ?? null;
  }

  private _look(): void {
    this.toggleClass('ec-output-alive', this._editor !== null);
  }

  private _onSave(_: unknown, state: string): void {
    if (!this._model || !this._editor) return;
    // a reader without the widget's model would show only that it has none
    if (state === 'started') this._keep(this._model.data);
    else if (state === 'completed' && !this._saving) void this._follow();
  }

  /** After a save: if the flow has moved since its picture was drawn, that is saved too. */
  private async _follow(): Promise<void> {
    const svg = await asked(this._editor!);
    const data = this._model?.data;
    if (!data || !this._saves || !svg || data[SVG] === svg) return;
    this._saving = true;
    this._keep({ ...data, [SVG]: svg });
    await this._saves.save().finally(() => (this._saving = false));
  }

  private _keep(data: Data): void {
    const { [VIEW]: view, ...rest } = data;
    if (view || data !== this._model!.data) replaceData(areaOf(this), this._model!, rest);
  }
}

/** Milliseconds between two looks for who draws widgets here, while nobody has drawn this one. */
const AGAIN = 500;
/** Milliseconds for an answer; a kernel that is busy is not waited for. */
const SOON = 5000;

/** The still picture as of now, of an editor that has a kernel. */
function asked(editor: Element): Promise<string> {
  return new Promise(take => {
    setTimeout(() => take(''), SOON);
    editor.dispatchEvent(new CustomEvent('ec-still', { bubbles: true, detail: take }));
  });
}
