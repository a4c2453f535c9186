// The variables of JupyterLab's two themes that the editor reads.

export const themes = {
  light: {
    'background-color': '#ffffff',
    '--jp-layout-color1': 'white',
    '--jp-ui-font-color0': 'rgba(0, 0, 0, 1)',
    '--jp-brand-color1': '#1976d2',
    '--jp-ui-font-family': 'system-ui, sans-serif',
    '--jp-code-font-family': 'monospace'
  },
  dark: {
    'background-color': '#111111',
    '--jp-layout-color1': '#212121',
    '--jp-ui-font-color0': 'rgba(255, 255, 255, 1)',
    '--jp-brand-color1': '#2196f3',
    '--jp-ui-font-family': 'system-ui, sans-serif',
    '--jp-code-font-family': 'monospace'
  }
};
