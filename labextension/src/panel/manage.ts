/** What is done to a flow as a whole: commands for the panel, the palette and pictures. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import { Menu } from '@lumino/widgets';
import type { FlowRow, Flows } from './service';

export type Verb = 'rename' | 'duplicate' | 'clear' | 'delete';
type Choose = (title: string) => Promise<string>;

const LABELS: Record<Verb, string> = { rename: 'Rename…', duplicate: 'Duplicate…', clear: 'Clear…', delete: 'Delete…' };
const VERBS = Object.keys(LABELS) as Verb[];
export const commandOf = (verb: Verb): string => `ec-jupyter:${verb}`;

/** Commands for flows as a whole; `gone` hears of keys that name no flow any more. */
export function addManaging(app: JupyterFrontEnd, flows: Flows, choose: Choose, gone: (key: string) => void): void {
  for (const verb of VERBS) {
    app.commands.addCommand(commandOf(verb), {
      label: args => (args['key'] ? LABELS[verb] : `Flow: ${LABELS[verb].toLowerCase()}`),
      execute: async args => {
        const key = (args['key'] as string) || (await choose(`Which flow: ${verb}?`));
        await flows.refresh();
        const row = flows.row(key);
        if (row) await manage(flows, row, verb, gone);
      }
    });
  }
}

/** The menu of one flow. */
export function menuOf(app: JupyterFrontEnd, key: string, x: number, y: number): void {
  const menu = new Menu({ commands: app.commands });
  for (const verb of VERBS) menu.addItem({ command: commandOf(verb), args: { key } });
  menu.aboutToClose.connect(() => setTimeout(() => menu.dispose()));
  menu.open(x, y);
}

async function manage(flows: Flows, row: FlowRow, verb: Verb, gone: (key: string) => void): Promise<void> {
  const args = await asked(row, verb);
  if (!args) return;
  const answer = await flows.manage(row.key, verb, args);
  if (!answer.ok) Notification.error(answer.error ?? `${verb} went wrong`, { autoClose: false });
  else if (verb === 'rename' || verb === 'delete') gone(row.key);
}

/** What a person says to it; null: nothing is done. */
async function asked({ name, path }: FlowRow, verb: Verb): Promise<Record<string, unknown> | null> {
  if (verb === 'rename' || verb === 'duplicate') {
    const title = verb === 'rename' ? `Rename flow ${name}` : `Duplicate flow ${name}: the wiring alone`;
    const { value } = await InputDialog.getText({
      title,
      label: 'Name',
      text: verb === 'rename' ? name : `${name}-2`,
      okLabel: title.split(' ')[0]!
    });
    return value && value !== name ? { name: value } : null;
  }
  const [title, body] =
    verb === 'clear'
      ? [`Clear flow ${name}?`, `All requests, results and waiting values of ${path} go. The wiring stays. There is no undo.`]
      : [`Delete flow ${name}?`, `Wiring, requests and values of ${path} go. There is no undo.`];
  const label = verb === 'clear' ? 'Clear' : 'Delete';
  const { button } = await showDialog({ title, body, buttons: [Dialog.cancelButton(), Dialog.warnButton({ label })] });
  return button.accept ? {} : null;
}
