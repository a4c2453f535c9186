/** The notebook widget's module: anywidget calls `render` for each view. */

import { mount } from './editor/mount';
import { AnywidgetHost, type Model } from './hosts/anywidget';
import { staticHost } from './hosts/static';

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const host = new AnywidgetHost(model, el);
  const unmount = mount(el, host);
  return () => {
    unmount();
    host.close();
  };
}

export { mount, staticHost };
export default { render };
