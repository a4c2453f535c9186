/** What concerns the whole flow, and the machines it runs on. */

import type { JSX } from 'react';
import { exports, palette } from './choices';
import { useStore } from './context';
import { tidy, undo } from './edits';
import { Icon, type IconName } from './icons';
import { inLab, inTab, openTab } from './lab';
import { usePast } from './past';
import { fullScreen } from './saving';
import { useGraph, useLife, useNodes, useView, type Panel } from './store';
import { showLog, showMetrics, showPlace, showRates } from './views';
import { placeId } from './wiring';
import { nodeState, usage } from './words';

interface ButtonProps {
  icon: IconName;
  label: string;
  keys?: string;
  /** Beside the icon, where there is room. */
  word?: string;
  /** Its word needs much room to be shown. */
  wide?: string;
  pressed?: boolean;
  off?: boolean;
  act: () => void;
}

function Button({ icon, label, keys, word, wide, pressed, off, act }: ButtonProps): JSX.Element {
  return (
    <button
      className="ec-tool"
      aria-label={label}
      title={keys ? `${label} (${keys})` : label}
      aria-pressed={pressed}
      disabled={off}
      onClick={act}
    >
      <Icon name={icon} />
      {word && <span>{word}</span>}
      {wide && <span className="ec-wide">{wide}</span>}
    </button>
  );
}

export function Toolbar(): JSX.Element {
  const store = useStore();
  const outline = useView(store, view => view.outline);
  const rates = useView(store, view => view.rates);
  const off = useLife(store) === 'static';
  const slider = usePast(store, past => past.since !== null);
  const panel = (kind: Extract<Panel, { kind: 'runs' | 'add' | 'addNode' | 'code' | 'history' | 'help' }>['kind']) => () =>
    store.set({ panel: { kind } });
  return (
    <div className="ec-toolbar">
      <div role="group" aria-label="Edits">
        <Button icon="undo" label="Undo" keys="Ctrl+Z" off={off} act={() => void undo(store, 'undo')} />
        <Button icon="redo" label="Redo" keys="Ctrl+Shift+Z" off={off} act={() => void undo(store, 'redo')} />
        <Button icon="stale" label="History of edits" off={off} act={panel('history')} />
        <Button icon="add" label="Add a processor" word="Processor" off={off} act={panel('add')} />
        <Button icon="tidy" label="Tidy" wide="Tidy" off={off} act={() => void tidy(store)} />
      </div>
      <div role="group" aria-label="View">
        <Button icon="search" label="Search" keys="Ctrl+K" word="Search" act={() => palette(store)} />
        <Button icon="fit" label="Fit the picture" wide="Fit" act={() => store.fitAll()} />
        <Button icon="outline" label="Outline" wide="Outline" pressed={outline} act={() => store.set({ outline: !outline })} />
        <Button
          icon="rates"
          label="Rates and latency"
          wide="Rates"
          pressed={rates}
          off={off}
          act={() => showRates(store, !rates)}
        />
        <Button icon="log" label="Log" wide="Log" off={off} act={() => showLog(store)} />
        <Button icon="metrics" label="Metrics" wide="Metrics" off={off} act={() => showMetrics(store)} />
        <Button icon="runs" label="Runs" wide="Runs" off={off} act={panel('runs')} />
        <Button
          icon="timeline"
          label="Timeline"
          wide="Timeline"
          off={off}
          act={() => store.set({ panel: { kind: 'timeline', run: null } })}
        />
        <Button
          icon="past"
          label="Past: the flow as it was"
          wide="Past"
          pressed={slider}
          off={off && !slider}
          act={() => (slider ? store.past.shut() : void store.past.open())}
        />
      </div>
      <div role="group" aria-label="Take away">
        <Button icon="save" label="Export" word="Export" off={off} act={() => exports(store)} />
        {inLab() && !inTab(store) && <Button icon="tab" label="Open in tab" wide="Open in tab" act={() => void openTab(store)} />}
        {document.fullscreenEnabled && <Button icon="full" label="Full screen" keys="F" act={() => void fullScreen(store)} />}
        <Button icon="help" label="Help" keys="?" act={panel('help')} />
      </div>
      <Nodes />
    </div>
  );
}

function Nodes(): JSX.Element {
  const store = useStore();
  const nodes = useNodes(store);
  const off = useLife(store) === 'static';
  const name = useGraph(store, graph => graph?.flow ?? '');
  return (
    <div className="ec-nodes">
      <ul aria-label="Nodes">
        {nodes.map(node => {
          const state = nodeState(node);
          const place = { kind: 'node', node: node.name } as const;
          return (
            // a click on the button comes up to here
            <li
              key={node.name}
              title={`node ${node.name}: ${usage(node)} CPUs in use, ${state}`}
              onClick={() => showPlace(store, place)}
            >
              <button className="ec-plain" aria-label={`Node ${node.name}: ${state}`} data-place={placeId(place)}>
                {node.name}
              </button>
              <meter min={0} max={node.cpus || 1} value={node.used ?? 0} aria-label={`CPUs in use on ${node.name}`} />
              <span className="ec-number">{usage(node)}</span>
              {state !== 'up' && (node.error ? <em>{state}</em> : <span>{state}</span>)}
            </li>
          );
        })}
      </ul>
      <Button icon="add" label="Add a node" off={off} act={() => store.set({ panel: { kind: 'addNode' } })} />
      <b title={`flow ${name}`}>{name}</b>
    </div>
  );
}
