/** A note: text on the canvas, that is moved as a card is and written in place. */

import { memo, useEffect, useRef, useState, type JSX, type KeyboardEvent } from 'react';
import type { NodeProps } from '@xyflow/react';
import { useStore } from './context';
import { Icon } from './icons';
import { removeNote, writeNote } from './notes';
import type { NoteNode } from './scene';
import { useLife, useView } from './store';
import { placeId } from './wiring';

export const NoteCard = memo(function NoteCard({ data, selected }: NodeProps<NoteNode>): JSX.Element {
  const store = useStore();
  const { id, text } = data.note;
  const off = useLife(store) === 'static';
  const writing = useView(store, view => view.writing === id);
  const open = () => !off && store.set({ writing: id });
  return (
    <div
      className={`ec-note${selected ? ' ec-selected' : ''}`}
      role="group"
      aria-label={`note: ${text.slice(0, 60)}`}
      data-place={placeId({ kind: 'note', note: id })}
      tabIndex={-1}
      onDoubleClick={event => {
        event.stopPropagation();
        open();
      }}
    >
      {writing ? <Text id={id} text={text} /> : <p>{text}</p>}
      {!off && !writing && (
        <button
          className="ec-plain ec-note-remove nodrag"
          tabIndex={-1}
          aria-label="Remove the note"
          title="Remove"
          onClick={() => void removeNote(store, id)}
        >
          <Icon name="close" />
        </button>
      )}
    </div>
  );
});

/** Written until the focus leaves it; Escape keeps the text as it was. */
function Text({ id, text }: { id: number; text: string }): JSX.Element {
  const store = useStore();
  const [now, setNow] = useState(text);
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => field.current!.select(), []);
  const done = (keep: boolean) => {
    if (store.view.writing !== id) return;
    store.set({ writing: null });
    if (keep && now !== text) void writeNote(store, id, now);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const leaves = event.key === 'Escape' || (event.key === 'Enter' && (event.ctrlKey || event.metaKey));
    if (leaves) {
      const place = field.current!.closest<HTMLElement>('.ec-note');
      done(event.key !== 'Escape');
      requestAnimationFrame(() => place?.focus({ preventScroll: true }));
    }
    event.stopPropagation();
  };
  return (
    <textarea
      ref={field}
      autoFocus
      className="nodrag nowheel nopan"
      aria-label="Text of the note"
      maxLength={4000}
      value={now}
      onChange={event => setNow(event.target.value)}
      onKeyDown={onKeyDown}
      onBlur={() => done(true)}
    />
  );
}
