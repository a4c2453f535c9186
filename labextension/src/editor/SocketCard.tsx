/** One socket: its name and state, a port per argument, its output, its numbers. */

import { Handle, Position, type NodeProps } from '@xyflow/react';
import { memo, type JSX } from 'react';
import { AskingCard } from './Asking';
import { open } from './choices';
import { useStore } from './context';
import { Icon, type IconName } from './icons';
import { argumentClick, outputClick, useFitClass } from './plugging';
import { Pulse } from './Pulse';
import { ProgressStrip } from './ProgressStrip';
import { LastError } from './LastError';
import { LastValue } from './Value';
import { RunCounts } from './StoryBar';
import { useStory } from './story';
import { cardHandles, type CardNode } from './scene';
import { FAR_AWAY, useCounts, useCountsText, useGraph, usePulse, useRate, useView } from './store';
import type { Parameter, Socket, SocketCounts } from './types';
import { feeding, outputType, placeId, ports } from './wiring';
import { showPlace } from './views';
import { COUNTED, duration, rate, short, stateOf, stateText, ticking, waitingAt } from './words';

/** Counts that are told: those that are not zero. */
const told = (counts: SocketCounts) => COUNTED.filter(state => (counts[state] ?? 0) > 0);

/** Their colour says it from afar. */
const QUIET: ReadonlySet<IconName> = new Set(['done', 'idle']);

/** From afar a name, a mark and a colour, drawn anew only where one of them changes. */
export const SocketCard = memo(function SocketCard({ data, selected }: NodeProps<CardNode>): JSX.Element | null {
  const store = useStore();
  const name = data.socket;
  const socket = useGraph(store, graph => graph?.sockets[name]);
  const detail = useView(store, view => view.detail);
  const lit = useStory(store, story => story.on && story.lights(name));
  const paused = useGraph(store, graph => !!socket && !!graph?.processors[socket.processor]?.paused);
  const state = useCountsText(store, name, counts => (socket ? stateOf(socket, counts, paused) : 'idle'));
  const failed = useCountsText(store, name, counts => (counts.failed ? short(counts.failed) : ''));
  const aside = useCountsText(store, name, counts => counts.aside ?? '');
  if (!socket) return null;
  const far = FAR_AWAY.has(detail);
  const place = { kind: 'socket', socket: name } as const;
  return (
    <div
      className={`ec-card ec-is-${state}${selected ? ' ec-selected' : ''}${far ? ' ec-far' : ''}${failed && ' ec-has-failed'}${lit ? ' ec-lit' : ''}`}
      role="group"
      aria-label={`socket ${name}`}
      data-place={placeId(place)}
      tabIndex={-1}
      {...(far
        ? { title: `${name}: ${aside || state}${failed && state !== 'failed' ? `, ${failed} failed` : ''}` }
        : { onDoubleClick: () => showPlace(store, place) })}
    >
      {detail === 'far' && <b>{name}</b>}
      {detail === 'far' && !QUIET.has(state) && <Icon name={state} />}
      {far ? <Anchors socket={socket} /> : <Rows name={name} socket={socket} state={state} lit={lit} />}
    </div>
  );
});

interface RowsProps {
  name: string;
  socket: Socket;
  state: IconName;
  /** The run that is looked at has been here. */
  lit: boolean;
}

/** All that is on a card which is near enough to be read. */
function Rows({ name, socket, state, lit }: RowsProps): JSX.Element {
  const store = useStore();
  const counts = useCounts(store, name);
  const story = useStory(store, of => of.on);
  const place = { kind: 'socket', socket: name } as const;
  return (
    <>
      <div className="ec-card-head">
        <b className="ec-name" title={name}>
          {name}
        </b>
        <Output name={name} socket={socket} />
        <button
          className="ec-more nodrag"
          tabIndex={-1}
          aria-label={`Actions of ${name}`}
          title="Actions"
          onClick={event => open(store, place, { x: event.clientX, y: event.clientY })}
        >
          <Icon name="more" />
        </button>
      </div>
      <SecondLine name={name} socket={socket} state={state} aside={counts.aside ?? undefined} />
      <div className="ec-args">
        {ports(socket).map(port => (
          <Argument key={port.name} name={name} socket={socket} port={port} counts={counts} />
        ))}
        {ports(socket).length === 0 && <div className="ec-arg ec-muted">no arguments</div>}
      </div>
      {counts.asked && socket.task.ask ? (
        <AskingCard name={name} ask={socket.task.ask} />
      ) : (
        <div className="ec-last-box">
          <LastValue name={name} socket={socket} />
          {counts.failed > 0 && <LastError name={name} />}
        </div>
      )}
      {counts.running > 0 &&
        (counts.progress ? <ProgressStrip of={counts.progress} label={`Progress of ${name}`} /> : <div className="ec-moving" />)}
      {story ? lit && <RunCounts name={name} /> : <Counts name={name} counts={counts} />}
    </>
  );
}

/** React Flow measures where plugs end by elements like these, and forgets what it was told beforehand. */
function Anchors({ socket }: { socket: Socket }): JSX.Element {
  return (
    <>
      {cardHandles(socket).map(({ id, type, position, x, y }) => (
        <i key={id} className={`ec-anchor ${type}`} data-handleid={id} data-handlepos={position} style={{ left: x, top: y }} />
      ))}
    </>
  );
}

interface SecondLineProps {
  name: string;
  socket: Socket;
  state: IconName;
  aside: string | undefined;
}

/** State and marks, then rates where a person asked for them. */
function SecondLine({ name, socket, state, aside }: SecondLineProps): JSX.Element {
  const store = useStore();
  const rates = useView(store, view => view.rates);
  const speed = useRate(store, name);
  const pulse = usePulse(store, name);
  const { stale } = socket.task;
  const times = useGraph(store, graph => ticking(graph, name));
  return (
    <div className="ec-card-line">
      <span className={`ec-state ec-is-${state}`} title={aside}>
        <Icon name={state} />
        {stateText(state)}
      </span>
      {stale.length > 0 && (
        <span className="ec-mark" title={`Changed since the cell ran: ${stale.join(', ')}. Run the cell again to take it.`}>
          <Icon name="stale" />
          stale
        </span>
      )}
      {times && (
        <span className="ec-mark ec-times" title={`Called by itself: ${times}`}>
          <Icon name="delayed" />
          {times}
        </span>
      )}
      {rates && (
        <span className="ec-rates" title="Calls per second, median and 95th percentile of their time">
          {pulse && <Pulse points={pulse} />} {rate(speed?.per_second)} · {duration(speed?.p50)} · {duration(speed?.p95)}
        </span>
      )}
    </div>
  );
}

function Output({ name, socket }: { name: string; socket: Socket }): JSX.Element {
  const store = useStore();
  const type = outputType(socket);
  const from = useView(store, view => view.plugging === name);
  const place = placeId({ kind: 'output', socket: name });
  const plugged = useGraph(store, graph => !!graph?.plugs.some(plug => plug.source === name));
  return (
    <>
      {type && (
        <code className="ec-type" title={`returns ${socket.returns}`}>
          {type}
        </code>
      )}
      <Handle
        id="out"
        type="source"
        position={Position.Right}
        className={`ec-port${plugged ? ' ec-plugged' : ''}${from ? ' ec-from' : ''}`}
        role="button"
        tabIndex={-1}
        aria-label={`Output of ${name}`}
        aria-pressed={from}
        title={`${type ?? 'of unknown type'}. Drag onto an argument, click and then click an argument, or press Enter.`}
        data-place={place}
        onClick={() => outputClick(store, name)}
      />
    </>
  );
}

interface ArgumentProps {
  name: string;
  socket: Socket;
  port: Parameter;
  counts: SocketCounts;
}

function Argument({ name, socket, port, counts }: ArgumentProps): JSX.Element {
  const store = useStore();
  const waiting = waitingAt(counts, port.name);
  const lists = counts.lists?.[port.name] ?? 0;
  const met = useStory(store, story => story.waitsAt(name, port.name) > 0);
  const fits = useFitClass(store, name, port.name);
  const plugged = useGraph(store, graph => !!graph && feeding(graph, name, port.name).length > 0);
  const fixed = socket.fixed[port.name];
  const value = fixed ? ` ≡ ${fixed.text}` : port.default === null ? '' : ` = ${port.default}`;
  const said = fixed ? `, fixed to ${fixed.text}` : port.default === null ? ', required' : `, default ${port.default}`;
  return (
    <div className={`ec-arg${waiting ? ' ec-arrived' : ''}${met ? ' ec-met-here' : ''}`}>
      <Handle
        id={`in:${port.name}`}
        type="target"
        position={Position.Left}
        className={`ec-port ${plugged ? 'ec-plugged ' : ''}${fits}`}
        role="button"
        tabIndex={-1}
        aria-label={`Argument ${port.name} of ${name}`}
        title={`${port.annotation ?? 'of any type'}${said}${socket.doc ? `. ${socket.doc}` : ''}`}
        data-place={placeId({ kind: 'argument', socket: name, argument: port.name })}
        onClick={event => argumentClick(store, name, port.name, { x: event.clientX, y: event.clientY })}
      />
      <span className="ec-arg-name">{port.name}</span>
      <code className="ec-type">
        {port.annotation}
        {value}
      </code>
      {waiting > 0 && (
        <button
          className="ec-waits nodrag"
          tabIndex={-1}
          aria-label={`${short(waiting)} waiting at ${port.name} of ${name}`}
          title={`${waiting - lists} wait here for the other arguments of their call${lists ? `; of ${lists} awaited as a list nothing has come` : ''}`}
          onClick={() => store.set({ panel: { kind: 'waiting', socket: name, argument: port.name } })}
        >
          <Icon name="waiting" />
          {short(waiting)}
        </button>
      )}
    </div>
  );
}

function Counts({ name, counts }: { name: string; counts: SocketCounts }): JSX.Element {
  const store = useStore();
  return (
    <div className="ec-counts">
      {told(counts).map(state => (
        <button
          key={state}
          className={`ec-count nodrag ec-is-${state}`}
          tabIndex={-1}
          aria-label={`${short(counts[state] ?? 0)} ${state} at ${name}`}
          title={`${(counts[state] ?? 0).toLocaleString('en')} ${state}: show them`}
          onClick={() => store.set({ panel: { kind: 'requests', socket: name, state } })}
        >
          <Icon name={state} />
          {short(counts[state] ?? 0)}
        </button>
      ))}
      <button
        className="ec-run nodrag"
        tabIndex={-1}
        aria-label={`Run ${name}`}
        title="Run it with arguments of your own"
        onClick={() => store.set({ panel: { kind: 'run', socket: name } })}
      >
        Run
      </button>
    </div>
  );
}
