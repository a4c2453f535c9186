/** What a socket asks a person: the oldest question on its card, all of them in the panel of what waits. */

import { useState, type FormEvent, type JSX } from 'react';
import { useStore } from './context';
import { useAnswer } from './panels/ask';
import { useCounts, type Store } from './store';
import type { Ask, Shown } from './types';
import { ValueView } from './Value';
import { age, clock } from './words';

/** A question as the engine tells of it. */
export interface Question {
  request: number;
  run: number;
  ask: Ask;
  since: number;
  until: number | null;
  element?: number[];
  arguments: Record<string, unknown>;
}

/** Buttons that a card has room for; more are in the panel. */
const ON_CARD = 3;
const SHORT = 12;

/** Gives the answer; the first one holds, and whoever comes later is told of it. */
async function respond(store: Store, socket: string, request: number, answer: unknown): Promise<string | null> {
  const found = await store.command('respond', { request, answer });
  store.say(found.ok ? `answered ${String(answer)} to request ${request} of ${socket}` : (found.error ?? 'it was refused'));
  return found.ok ? null : (found.error ?? 'it was refused');
}

/** On the card: what is asked, what it is about, and the answers. */
export function AskingCard({ name, ask }: { name: string; ask: Ask }): JSX.Element {
  const store = useStore();
  const { asked, done, cancelled, failed } = useCounts(store, name);
  const [answer, again] = useAnswer('waiting', { socket: name, limit: 1 }, JSON.stringify([asked, done, cancelled, failed]));
  const question = ((answer?.['rows'] ?? []) as Question[]).find(row => row.ask);
  const choices = question?.ask.choices ?? ask.choices;
  const fits = choices && choices.length <= ON_CARD && choices.every(one => String(one).length <= SHORT);
  const open = () => store.set({ panel: { kind: 'waiting', socket: name, argument: null } });
  return (
    <div className="ec-last ec-asking" role="group" aria-label={`${name} asks: ${ask.prompt}`}>
      <div className="ec-prompt" title={ask.prompt}>
        {ask.prompt}
      </div>
      <div className="ec-about" aria-hidden="true">
        {question && <About request={question.request} argument={Object.keys(question.arguments)[0]} small />}
      </div>
      <div className="ec-answers">
        {question && fits ? (
          choices.map(choice => (
            <button
              key={String(choice)}
              className="nodrag"
              tabIndex={-1}
              aria-label={`Answer ${String(choice)} to request ${question.request} of ${name}`}
              onClick={() => void respond(store, name, question.request, choice).then(again)}
            >
              {String(choice)}
            </button>
          ))
        ) : (
          <button className="nodrag" tabIndex={-1} aria-label={`Answer ${name}`} onClick={open}>
            Answer
          </button>
        )}
        <button
          className="ec-plain nodrag"
          tabIndex={-1}
          aria-label={`All ${asked ?? 0} that ${name} asks`}
          title="All of them"
          onClick={open}
        >
          {asked ?? 0}
        </button>
      </div>
    </div>
  );
}

function About({
  request,
  argument,
  small
}: {
  request: number;
  argument: string | undefined;
  small?: boolean;
}): JSX.Element | null {
  const [answer] = useAnswer('preview', { request, argument, rich: true });
  if (argument === undefined || !answer) return null;
  if (!answer.ok) return <span className="ec-muted">{answer.error}</span>;
  return <ValueView shown={answer as unknown as Shown} small={!!small} />;
}

/** One question, with the values it is about. */
export function QuestionView({
  socket,
  question,
  again
}: {
  socket: string;
  question: Question;
  again: () => void;
}): JSX.Element {
  const store = useStore();
  const [text, setText] = useState('');
  const [error, setError] = useState('');
  const { request, run, ask, since, until, element = [] } = question;
  const give = (answer: unknown) =>
    void respond(store, socket, request, answer).then(said => {
      setError(said ?? '');
      again();
    });
  const send = (event: FormEvent) => {
    event.preventDefault();
    give(text);
  };
  const cancel = async () => {
    if (await store.ask('cancel', { ids: [request] })) store.say(`cancelled request ${request} of ${socket}`);
    again();
  };
  return (
    <article className="ec-call ec-question">
      <h3>
        request {request} · run {run}
        {element.length > 0 && ` · element ${element.join('.')}`}
      </h3>
      <p className="ec-prompt-whole">{ask.prompt}</p>
      {Object.keys(question.arguments).map(name => (
        <div key={name} className="ec-value">
          <b>{name}</b>
          <About request={request} argument={name} />
        </div>
      ))}
      <p className="ec-muted">
        waits for a person · {age(Date.now() / 1000 - since)} · {until === null ? 'no limit' : `until ${clock(until)}`}
      </p>
      {ask.choices ? (
        <div className="ec-acts" role="group" aria-label={`Answers to request ${request}`}>
          {ask.choices.map(choice => (
            <button key={String(choice)} onClick={() => give(choice)}>
              {String(choice)}
            </button>
          ))}
        </div>
      ) : (
        <form className="ec-line-of" onSubmit={send}>
          <input
            aria-label={`Answer to request ${request}`}
            value={text}
            required
            onChange={event => setText(event.target.value)}
          />
          <button type="submit">Answer</button>
        </form>
      )}
      {error && (
        <p className="ec-warn" role="alert">
          {error}
        </p>
      )}
      <div className="ec-acts">
        <button onClick={() => void cancel()}>Cancel the request</button>
      </div>
    </article>
  );
}
