import { LabIcon } from '@jupyterlab/ui-components';

/** Two sockets plugged into a third. */
export const flowIcon = new LabIcon({
  name: 'ec-jupyter:flow',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><g class="jp-icon3" fill="#616161">' +
    '<rect x="2" y="4" width="7" height="6" rx="1.5"/><rect x="2" y="14" width="7" height="6" rx="1.5"/>' +
    '<rect x="15" y="9" width="7" height="6" rx="1.5"/></g>' +
    '<path class="jp-icon3-stroke ec-icon-lines" d="M9 7c4 0 2 4.2 6 4.2M9 17c4 0 2-4.2 6-4.2" ' +
    'fill="none" stroke="#616161" stroke-width="1.6"/></svg>'
});
