// Mounts the built editor on a flow in memory. ?scene= names the wiring, ?host= how it is reached, ?theme= Lab's colours.

import widget, { mount, staticHost } from '/static/editor.js';
import { Flow } from './flow.js';
import { WidgetModel, RevivableHost } from './model.js';
import { scenes } from './scenes.js';
import { themes } from './themes.js';

const query = new URLSearchParams(location.search);
for (const [name, value] of Object.entries(themes[query.get('theme')] ?? {})) {
  document.body.style.setProperty(name, value);
}
const flow = new Flow(scenes[query.get('scene') ?? 'demo']());
const el = document.getElementById('here');
window.flow = flow;
switch (query.get('host') ?? 'widget') {
  case 'widget':
    window.model = new WidgetModel(flow);
    window.unmount = widget.render({ model: window.model, el });
    break;
  case 'revivable':
    window.host = new RevivableHost(flow);
    window.unmount = mount(el, window.host);
    break;
  case 'static':
    window.unmount = mount(el, staticHost(flow.graph));
}
