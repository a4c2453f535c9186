/** The JupyterLab plugin: a panel of flows, a word in the status bar, commands, and flows in tabs of their own. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILayoutRestorer } from '@jupyterlab/application';
import type { MainAreaWidget } from '@jupyterlab/apputils';
import { Dialog, ICommandPalette, InputDialog, Notification, showDialog, WidgetTracker } from '@jupyterlab/apputils';
import { IEditorServices } from '@jupyterlab/codeeditor';
import { ILauncher } from '@jupyterlab/launcher';
import { IMainMenu } from '@jupyterlab/mainmenu';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { IStatusBar } from '@jupyterlab/statusbar';
import { answerPictures } from './lab/answers';
import { MARK } from './output/mark';
import { FlowOutput } from './output/output';
import { flowIcon } from './panel/icon';
import { addManaging, commandOf, menuOf } from './panel/manage';
import { Notices } from './panel/notices';
import { FlowsPanel } from './panel/panel';
import type { FlowRow } from './panel/service';
import { Flows } from './panel/service';
import { FlowsStatus } from './panel/status';
import type { FlowTab } from './panel/tab';
import { flowTab } from './panel/tab';

const OPEN = 'ec-jupyter:open';
const STOP = 'ec-jupyter:stop';
const SHOW = 'ec-jupyter:show-panel';

type Tabs = WidgetTracker<MainAreaWidget<FlowTab>>;

const plugin: JupyterFrontEndPlugin<void> = {
  id: 'ec-jupyter:flows',
  description: 'Flows of ec_jupyter: a side panel, a status, and an editor in a tab.',
  autoStart: true,
  optional: [ICommandPalette, ILayoutRestorer, IStatusBar],
  activate: (app, palette: ICommandPalette | null, restorer: ILayoutRestorer | null, bar: IStatusBar | null) => {
    const flows = new Flows();
    new Notices(flows);
    const tabs: Tabs = new WidgetTracker({ namespace: 'ec-jupyter' });
    const panel = new FlowsPanel(
      flows,
      key => void app.commands.execute(OPEN, { key }),
      (key, x, y) => menuOf(app, key, x, y)
    );
    addCommands(app, flows, tabs, panel);
    addManaging(
      app,
      flows,
      title => choose(flows, title, () => true),
      key => tabs.find(tab => tab.content.key === key)?.dispose()
    );
    const managing = (['rename', 'duplicate', 'clear', 'delete'] as const).map(commandOf);
    for (const command of [OPEN, SHOW, STOP, ...managing]) palette?.addItem({ command, category: 'Flow' });
    app.shell.add(panel, 'left', { rank: 600 });
    restorer?.add(panel, panel.id);
    void restorer?.restore(tabs, {
      command: OPEN,
      args: tab => ({ key: tab.content.key }),
      name: tab => tab.content.key
    });
    if (bar) {
      const status = new FlowsStatus(flows, () => void app.commands.execute(SHOW));
      bar.registerStatusItem('ec-jupyter:flows', {
        item: status,
        align: 'left',
        rank: 50,
        isActive: () => status.active,
        activeStateChanged: flows.changed
      });
    }
    void app.restored.then(() => flows.refresh());
  }
};

/** Before the widget's own kind: an output with a picture shows it also where no kernel has its widget. */
const RANK = -20;

const outputs: JupyterFrontEndPlugin<void> = {
  id: 'ec-jupyter:outputs',
  description: 'Pictures of flows in the outputs of cells: alive, or as they were saved.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  activate: (_app, kinds: IRenderMimeRegistry) => {
    kinds.addFactory({ safe: true, mimeTypes: [MARK], createRenderer: () => new FlowOutput() }, RANK);
  }
};

/** Where people look for things to open, where this JupyterLab has such places. */
const places: JupyterFrontEndPlugin<void> = {
  id: 'ec-jupyter:places',
  description: 'A card in the launcher and entries of the View menu.',
  autoStart: true,
  optional: [ILauncher, IMainMenu],
  activate: (_app, launcher: ILauncher | null, menu: IMainMenu | null) => {
    launcher?.add({ command: OPEN, args: { card: true }, category: 'Other', rank: 5 });
    menu?.viewMenu.addGroup([{ command: SHOW }, { command: OPEN }], 20);
  }
};

/** What pictures ask of JupyterLab. */
const answers: JupyterFrontEndPlugin<void> = {
  id: 'ec-jupyter:answers',
  description: 'Tabs, cells and an editor of code for the pictures in notebooks and tabs.',
  autoStart: true,
  optional: [INotebookTracker, IEditorServices],
  activate: (app, notebooks: INotebookTracker | null, editors: IEditorServices | null) => {
    const open = (key: string) => void app.commands.execute(OPEN, { key });
    answerPictures({ app, flows: new Flows(), open, notebooks, editors });
  }
};

function addCommands(app: JupyterFrontEnd, flows: Flows, tabs: Tabs, panel: FlowsPanel): void {
  app.commands.addCommand(SHOW, {
    label: 'Flow: show panel',
    icon: flowIcon,
    execute: () => app.shell.activateById(panel.id)
  });
  app.commands.addCommand(OPEN, {
    label: args => (args['card'] ? 'Flow' : 'Flow: open…'),
    caption: 'Open a flow in a tab',
    icon: flowIcon,
    execute: async args => {
      const key = (args['key'] as string) || (await choose(flows, 'Open a flow', () => true));
      if (!key) return;
      let tab = tabs.find(one => one.content.key === key);
      if (!tab) {
        tab = flowTab(key, flows);
        void tabs.add(tab);
      }
      if (!tab.isAttached) app.shell.add(tab, 'main');
      app.shell.activateById(tab.id);
      return tab;
    }
  });
  app.commands.addCommand(STOP, {
    label: 'Flow: stop engine',
    execute: async args => {
      const key = (args['key'] as string) || (await choose(flows, 'Stop the engine of a flow', row => row.running));
      const answer = key ? await flows.stop(key) : { ok: true };
      if (!answer.ok) Notification.error(answer.error ?? '', { autoClose: false });
    }
  });
}

/** Key of the flow that a person picks; nothing where there is none to pick. */
async function choose(flows: Flows, title: string, wanted: (row: FlowRow) => boolean): Promise<string> {
  await flows.refresh();
  const rows = flows.rows.filter(wanted);
  if (!rows.length) {
    const body = flows.trouble || 'There is none at the moment.';
    await showDialog({ title, body, buttons: [Dialog.okButton()] });
    return '';
  }
  const picked = await InputDialog.getItem({ title, items: rows.map(row => row.path) });
  return rows.find(row => row.path === picked.value)?.key ?? '';
}

export default [plugin, outputs, places, answers];
