/** One socket: its task, its options, and what can be done with it. */

import type { JSX } from 'react';
import { useStore } from '../context';
import { edit, pause, removeSockets, retry } from '../edits';
import { useCounts, useGraph, useView, type Panel } from '../store';
import { feeding, ports } from '../wiring';
import { PythonLine } from './PythonLine';

export function SocketPanel({ name }: { name: string }): JSX.Element {
  const store = useStore();
  const graph = useGraph(store, known => known);
  const counts = useCounts(store, name);
  const clipboard = useView(store, () => store.clipboard !== null);
  const socket = graph?.sockets[name];
  if (!graph || !socket) return <p>This socket is gone.</p>;
  const { task, paused, processor } = socket;
  const show = (text: string, panel: Panel) => <button onClick={() => store.set({ panel })}>{text}</button>;
  const signature = task.signature.map(
    port => port.name + (port.annotation ? `: ${port.annotation}` : '') + (port.default === null ? '' : ` = ${port.default}`)
  );
  return (
    <>
      {socket.doc && <p className="ec-doc-whole">{socket.doc}</p>}
      <pre>{`${name}(${signature.join(', ')})${socket.returns ? ` -> ${socket.returns}` : ''}`}</pre>
      <p className="ec-muted">
        version {task.version}
        {task.generator && ' · a generator'} · {socket.threads} CPU{socket.threads === 1 ? '' : 's'} a call · {socket.retries}{' '}
        retries{socket.timeout !== null && ` · at most ${socket.timeout} s`}
        {(socket.concurrent ?? 1) > 1 && ` · up to ${socket.concurrent} at once in a worker`}
        {!!socket.priority && ` · priority ${socket.priority}`}
        {socket.rate && ` · at most ${socket.rate}`}
        {socket.cache && ` · results used again: ${socket.cache}`}
        {socket.keep && ` · runs kept: ${socket.keep}`}
        {!!socket.limit && ` · holds ${socket.limit}, then ${socket.full}`}
      </p>
      {counts.aside && <p className="ec-warn">{counts.aside}</p>}
      {task.parked && <p className="ec-warn">Parked: run its cell again, for the Python of this flow has changed.</p>}
      {task.stale.length > 0 && (
        <p className="ec-warn">Stale: {task.stale.join(', ')} changed since its cell ran. Run the cell again.</p>
      )}
      <div className="ec-acts">
        {show('Run', { kind: 'run', socket: name })}
        <button onClick={() => void pause(store, { socket: name }, !paused)}>{paused ? 'Resume' : 'Pause'}</button>
        {counts.failed > 0 && show(`Failed: ${counts.failed}`, { kind: 'requests', socket: name, state: 'failed' })}
        {counts.failed > 0 && <button onClick={() => void retry(store, { socket: name })}>Retry all failed</button>}
        {show('Rename', { kind: 'rename', socket: name })}
        <button onClick={() => void removeSockets(store, [name])}>Remove</button>
        {clipboard && <span className="ec-muted">Ctrl+V pastes plugs</span>}
      </div>
      <label>
        <b>processor</b>
        <select
          value={processor}
          onChange={event =>
            void edit(
              store,
              [{ op: 'move', socket: name, processor: event.target.value }],
              `${name} runs on ${event.target.value}`
            )
          }
        >
          {Object.keys(graph.processors).map(one => (
            <option key={one}>{one}</option>
          ))}
        </select>
      </label>
      {ports(socket).length > 1 && (
        <PythonLine
          key={socket.key ?? ''}
          label="key"
          first={socket.key ?? ''}
          placeholder="value.id"
          hint="Python over value: values for which it is equal meet in a call. Empty: those of the same run meet."
          send={text => store.command('key', { socket: name, text })}
          said={text => `${name} joins ${text ? `by ${text}` : 'by run'}`}
        />
      )}
      <table>
        <caption>Arguments</caption>
        <tbody>
          {ports(socket).map(({ name: argument, default: value, required }) => {
            const from = feeding(graph, name, argument).map(plug => plug.source);
            const fixed = socket.fixed[argument];
            const text = from.length
              ? `from ${from.join(', ')}`
              : fixed
                ? `fixed: ${fixed.text}`
                : value !== null
                  ? `default ${value}`
                  : required
                    ? 'needs a plug'
                    : '';
            return (
              <tr key={argument}>
                <th scope="row">{argument}</th>
                <td>{text}</td>
                <td>{show('Fix', { kind: 'fix', socket: name, argument })}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </>
  );
}
