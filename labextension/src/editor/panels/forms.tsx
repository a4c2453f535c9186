/** Small forms: run a socket, rename it, fix a value, add a processor or a node. */

import { useState, type FormEvent, type JSX, type ReactNode } from 'react';
import { useStore } from '../context';
import type { Answer } from '../types';
import { useGraph } from '../store';
import { feeding, ports } from '../wiring';
import { nodeArgs } from '../words';

interface FormProps {
  act: string;
  children: ReactNode;
  send: () => Promise<Answer>;
  done: (answer: Answer) => void;
}

/** Says in place what was wrong, and keeps what was typed. */
export function Form({ act, children, send, done }: FormProps): JSX.Element {
  const [error, setError] = useState('');
  const [sending, setSending] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setSending(true);
    const answer = await send();
    setSending(false);
    setError(answer.ok ? '' : (answer.error ?? 'it was refused'));
    if (answer.ok) done(answer);
  };
  return (
    <form onSubmit={event => void submit(event)}>
      {children}
      {error && (
        <p className="ec-warn" role="alert">
          {error}
        </p>
      )}
      <button type="submit" disabled={sending}>
        {act}
      </button>
    </form>
  );
}

export function RunPanel({ socket }: { socket: string }): JSX.Element {
  const store = useStore();
  const graph = useGraph(store, known => known);
  const [texts, setTexts] = useState<Record<string, string>>({});
  const [partial, setPartial] = useState(false);
  const of = graph?.sockets[socket];
  if (!graph || !of) return <p>This socket is gone.</p>;
  const given = Object.fromEntries(Object.entries(texts).filter(([, text]) => text.trim()));
  return (
    <Form
      act="Run"
      send={() => store.command('submit', { socket, arguments: given, partial })}
      done={answer => {
        store.say(`request ${String(answer['request'])} of ${socket} is queued`);
        store.set({ panel: { kind: 'request', id: Number(answer['request']), socket, state: null } });
      }}
    >
      <p className="ec-muted">
        Values as in Python or JSON: 3, "text", [1, 2]; for a str, the text as it is. Left empty, it has its default.
      </p>
      {ports(of).map((port, index) => {
        const fixed = of.fixed[port.name];
        const fed = feeding(graph, socket, port.name).length > 0;
        const from = fixed
          ? `fixed: ${fixed.text}`
          : port.default !== null
            ? `default: ${port.default}`
            : fed
              ? 'plugged'
              : 'needed';
        return (
          <label key={port.name}>
            <span>
              <b>{port.name}</b> <code className="ec-type">{port.annotation}</code>
            </span>
            <input
              {...(index === 0 && { 'data-first': true })}
              value={texts[port.name] ?? ''}
              placeholder={from}
              required={!partial && port.required && !fixed}
              onChange={event => setTexts({ ...texts, [port.name]: event.target.value })}
            />
          </label>
        );
      })}
      {ports(of).length > 1 && (
        <label>
          <input type="checkbox" checked={partial} onChange={event => setPartial(event.target.checked)} /> The rest will come
        </label>
      )}
    </Form>
  );
}

interface LineProps {
  label: string;
  act: string;
  first?: string;
  hint?: string;
  change: (text: string) => Record<string, unknown>;
  done: (text: string) => void;
}

/** A form of one line that makes one change. */
export function LineForm({ label, act, first, hint, change, done }: LineProps): JSX.Element {
  const store = useStore();
  const [text, setText] = useState(first ?? '');
  return (
    <Form act={act} send={() => store.host.command('edit', { changes: [change(text)] })} done={() => done(text)}>
      <label>
        <b>{label}</b>
        <input
          data-first
          value={text}
          required
          onFocus={event => event.target.select()}
          onChange={event => setText(event.target.value)}
        />
      </label>
      {hint && <p className="ec-muted">{hint}</p>}
    </Form>
  );
}

export function RenamePanel({ socket }: { socket: string }): JSX.Element {
  const store = useStore();
  return (
    <LineForm
      label="New name"
      act="Rename"
      first={socket}
      change={to => ({ op: 'rename', name: socket, to })}
      done={to => {
        store.set({ panel: null });
        store.say(`${socket} is ${to} now`);
      }}
    />
  );
}

export function FixPanel({ socket, argument }: { socket: string; argument: string }): JSX.Element {
  const store = useStore();
  const fixed = useGraph(store, graph => graph?.sockets[socket]?.fixed[argument]?.text);
  return (
    <LineForm
      label={argument}
      act="Fix"
      {...(fixed !== undefined && { first: fixed })}
      hint='Every call gets it, unless a plug feeds the argument. As in Python or JSON: 3, "text", [1, 2].'
      change={text => ({ op: 'fix', socket, argument, text })}
      done={text => {
        store.set({ panel: null });
        store.say(`${socket}.${argument} is ${text}`);
      }}
    />
  );
}

export function AddPanel(): JSX.Element {
  const store = useStore();
  const [name, setName] = useState('');
  const [cpus, setCpus] = useState('');
  const change = () => ({ op: 'processor', name, cpus: cpus === '' ? null : Number(cpus) });
  return (
    <Form
      act="Add"
      send={() => store.host.command('edit', { changes: [change()] })}
      done={() => {
        store.set({ panel: null });
        store.say(`added processor ${name}`);
      }}
    >
      <label>
        <b>Name</b>
        <input data-first value={name} required onChange={event => setName(event.target.value)} />
      </label>
      <label>
        <b>CPUs</b>
        <input
          type="number"
          min={1}
          step={1}
          value={cpus}
          placeholder="all of the node"
          onChange={event => setCpus(event.target.value)}
        />
      </label>
    </Form>
  );
}

const NODE_FIELDS: [string, string, string][] = [
  ['name', 'Name', ''],
  ['host', 'Host', 'user@host, as ssh takes it'],
  ['cpus', 'CPUs', 'all of the node'],
  ['requirements', 'Requirements', 'numpy>=2 pandas']
];

export function AddNodePanel(): JSX.Element {
  const store = useStore();
  const [texts, setTexts] = useState<Record<string, string>>({});
  return (
    <Form
      act="Add"
      send={() => store.host.command('node', nodeArgs(texts))}
      done={() => store.set({ panel: { kind: 'node', node: texts['name']!.trim() } })}
    >
      {NODE_FIELDS.map(([key, label, hint], index) => (
        <label key={key}>
          <b>{label}</b>
          <input
            {...(index === 0 && { 'data-first': true, required: true })}
            {...(key === 'cpus' && { type: 'number', min: 1 })}
            value={texts[key] ?? ''}
            placeholder={hint}
            onChange={event => setTexts({ ...texts, [key]: event.target.value })}
          />
        </label>
      ))}
    </Form>
  );
}
