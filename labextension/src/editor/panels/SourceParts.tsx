/** What shows code: highlighted, compared, and to be written. What highlights and compares comes when it is first looked at. */

import { useEffect, useRef, useState, type JSX, type KeyboardEvent } from 'react';
import { useStore } from '../context';
import { askLab } from '../lab';
import type { Answer, Parts } from '../types';
import type { Version } from './SourcePanel';

/** Null before it is there, and where nobody can give it. */
function useSources(): Parts['sources'] | null {
  const store = useStore();
  const [sources, setSources] = useState<Parts['sources'] | null>(null);
  useEffect(() => {
    let here = true;
    store.part('sources')?.then(
      part => here && setSources(part),
      (why: unknown) => store.say(`Code cannot be highlighted or compared: ${String(why)}`)
    );
    return () => void (here = false);
  }, [store]);
  return sources;
}

/** The text, in colours as soon as there are any. */
const inked = (sources: Parts['sources'] | null, text: string) =>
  sources ? { dangerouslySetInnerHTML: { __html: sources.highlighted(text) } } : { children: text };

export function Code({ text }: { text: string }): JSX.Element {
  return <pre className="ec-source" tabIndex={0} aria-label="Source" {...inked(useSources(), text)} />;
}

const SAID = { '+': 'added', '-': 'removed', ' ': '' };

export function Difference({ was, now }: { was: Version; now: Version }): JSX.Element {
  const sources = useSources();
  if (!sources) return <p className="ec-muted">Asking…</p>;
  const lines = sources.difference(was.source, now.source);
  const changed = lines.some(line => line.sign !== ' ');
  return (
    <>
      <p className="ec-muted">
        {changed ? `What version ${now.version} has in the place of version ${was.version}:` : 'Both have the same lines.'}
      </p>
      <pre className="ec-source ec-diff" tabIndex={0} aria-label="Differences">
        {lines.map(({ sign, text }, at) => (
          <span key={at} className={sign === ' ' ? '' : `ec-${SAID[sign]}`}>
            <i aria-label={SAID[sign]}>{sign}</i>
            <span {...inked(sources, text || '\n')} />
          </span>
        ))}
      </pre>
    </>
  );
}

interface WritingProps {
  socket: string;
  from: Version;
  leave: () => void;
}

export function Writing({ socket, from, leave }: WritingProps): JSX.Element {
  const store = useStore();
  const [text, setText] = useState(from.source);
  const [wrong, setWrong] = useState<Answer | null>(null);
  const [sending, setSending] = useState(false);
  const line = Number(wrong?.['line'] ?? 0);
  const send = async () => {
    if (sending) return;
    setSending(true);
    const answer = await store.command('redefine', { socket, source: text });
    setSending(false);
    setWrong(answer.ok ? null : answer);
    if (!answer.ok) return store.say(answer.error ?? 'it was refused');
    const written = await askLab(store, 'write', { socket, was: from.source, now: text });
    const cell = written && (written.ok ? '; its cell too' : '; its cell in the notebook has the old text still');
    store.say(`${socket} runs version ${String(answer['version'])} from now on${cell ?? ''}`);
    leave();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void send();
    else if (event.key === 'Escape') leave();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div className="ec-writes" onKeyDownCapture={onKeyDown}>
      <div className="ec-acts">
        <button aria-disabled={sending} title="Ctrl+Enter" onClick={() => void send()}>
          Run as new version
        </button>
        <button onClick={leave}>Cancel</button>
      </div>
      {wrong && (
        <p className="ec-warn" role="alert">
          {line > 0 && <b>line {line}: </b>}
          {wrong.error}
        </p>
      )}
      <Field text={text} change={setText} line={line} />
      <p className="ec-muted">
        Run in the notebook’s kernel, as its cell would be. Calls that wait take the new version; what runs ends with its own.
      </p>
    </div>
  );
}

interface FieldProps {
  text: string;
  change: (text: string) => void;
  line: number;
}

/** JupyterLab's own editor where there is one; else a field over the highlighted text. */
function Field({ text, change, line }: FieldProps): JSX.Element {
  const store = useStore();
  const sources = useSources();
  const host = useRef<HTMLDivElement>(null);
  const [theirs, setTheirs] = useState(false);
  const first = useRef({ text, change });
  first.current.change = change;
  useEffect(() => {
    const end = new AbortController();
    const args = {
      host: host.current!,
      text: first.current.text,
      changed: (now: string) => first.current.change(now),
      end: end.signal
    };
    void askLab(store, 'editor', args)?.then(answer => setTheirs(answer.ok));
    return () => end.abort();
  }, [store]);
  // what is hidden takes no focus
  useEffect(() => {
    if (theirs) host.current!.querySelector<HTMLElement>('[contenteditable=true]')?.focus();
  }, [theirs]);
  return (
    <div className="ec-writing" style={{ '--ec-line-at': line } as React.CSSProperties} data-line={line || undefined}>
      <div ref={host} hidden={!theirs} className="ec-lab-editor" />
      {!theirs && (
        <div className="ec-field">
          <pre className="ec-source" aria-hidden="true" {...inked(sources, `${text}\n`)} />
          <textarea
            data-first
            autoFocus
            spellCheck={false}
            aria-label="Source"
            aria-invalid={line > 0}
            value={text}
            onChange={event => change(event.target.value)}
            onKeyDown={indent}
          />
        </div>
      )}
    </div>
  );
}

/** Enter keeps the indentation. Tab leaves the field: nobody may be held in it. */
function indent(event: KeyboardEvent<HTMLTextAreaElement>): void {
  if (event.key !== 'Enter' || event.ctrlKey || event.metaKey) return;
  const field = event.currentTarget;
  const { value, selectionStart: at, selectionEnd: to } = field;
  const before = value.slice(value.lastIndexOf('\n', at - 1) + 1, at);
  const space = /^\s*/.exec(before)![0] + (before.trimEnd().endsWith(':') ? '    ' : '');
  event.preventDefault();
  // at once: the next key may be on its way
  field.setRangeText(`\n${space}`, at, to, 'end');
  field.dispatchEvent(new Event('input', { bubbles: true }));
}
