/** A list to choose from, filtered while one types: actions at a place, inputs that fit, search. */

import { useEffect, useLayoutEffect, useRef, useState, type JSX, type KeyboardEvent } from 'react';
import { useStore } from './context';
import { useView, type Choice, type Chooser } from './store';

/** More would be slow to draw, and nobody reads on. */
const SHOWN = 60;

export function ChooserBox(): JSX.Element | null {
  const store = useStore();
  const chooser = useView(store, view => view.chooser);
  // a new list starts with an empty filter
  return chooser && <Box key={chooser.title} chooser={chooser} />;
}

function found(choices: Choice[], filter: string): Choice[] {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const hits = choices.filter(({ text, hint }) => words.every(word => `${text} ${hint ?? ''}`.toLowerCase().includes(word)));
  // what begins a word of the name comes before what is inside one
  const begins = ({ text }: Choice) => words.every(word => ` ${text.toLowerCase()}`.includes(` ${word}`));
  return [...hits.filter(begins), ...hits.filter(hit => !begins(hit))];
}

function Box({ chooser }: { chooser: Chooser }): JSX.Element {
  const [filter, setFilter] = useState('');
  const [at, setAt] = useState(0);
  const box = useRef<HTMLDivElement>(null);
  const all = found(chooser.choices, filter);
  const choices = all.slice(0, SHOWN);
  const close = useReturn();
  usePlace(box, chooser);
  useEffect(() => {
    box.current?.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' });
  });
  const take = (choice: Choice | undefined) => {
    if (!choice) return;
    close();
    choice.run();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    const by = steps[event.key];
    if (by) setAt(Math.max(0, Math.min(choices.length - 1, at + by)));
    else if (event.key === 'Enter') take(choices[at]);
    else if (event.key === 'Escape' || event.key === 'Tab') close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div ref={box} className="ec-chooser nowheel" role="dialog" aria-label={chooser.title} onBlur={leaving(close)}>
      <input
        autoFocus
        role="combobox"
        aria-expanded="true"
        aria-controls="ec-choices"
        aria-activedescendant={choices[at] && `ec-choice-${at}`}
        aria-label={chooser.title}
        placeholder={chooser.title}
        value={filter}
        onChange={event => {
          setFilter(event.target.value);
          setAt(0);
        }}
        onKeyDown={onKeyDown}
      />
      <ul id="ec-choices" role="listbox" aria-label={chooser.title}>
        {choices.map((choice, index) => (
          <li
            key={index}
            id={`ec-choice-${index}`}
            role="option"
            aria-selected={index === at}
            onPointerMove={() => setAt(index)}
            // before the field loses the focus
            onPointerDown={event => event.preventDefault()}
            onClick={() => take(choice)}
          >
            <span>{choice.text}</span>
            {choice.hint && <span className="ec-muted">{choice.hint}</span>}
          </li>
        ))}
      </ul>
      {!all.length && <p className="ec-muted">{filter ? `nothing is called ${filter}` : 'nothing fits'}</p>}
      {all.length > SHOWN && <p className="ec-muted">{all.length - SHOWN} more: type to find them</p>}
    </div>
  );
}

const leaving = (close: () => void) => (event: React.FocusEvent) => {
  if (!event.currentTarget.contains(event.relatedTarget)) close();
};

/** Closes the list and gives the focus back to where it was opened. */
function useReturn(): () => void {
  const store = useStore();
  // read while drawing: once the list is there, its field has the focus
  const [before] = useState(() => document.activeElement as HTMLElement | null);
  return () => {
    if (!store.view.chooser) return;
    store.set({ chooser: null });
    const id = before?.dataset['place'];
    const now = before?.isConnected ? before : id && store.box?.querySelector<HTMLElement>(`[data-place="${CSS.escape(id)}"]`);
    if (now && now !== document.body) now.focus({ preventScroll: true });
  };
}

/** Near where it was asked for, and wholly inside the editor. */
function usePlace(box: React.RefObject<HTMLDivElement | null>, chooser: Chooser): void {
  const store = useStore();
  useLayoutEffect(() => {
    const [own, root] = [box.current!, store.box!.getBoundingClientRect()];
    const { width, height } = own.getBoundingClientRect();
    const at = chooser.at ?? { x: root.left + (root.width - width) / 2, y: root.top + 44 };
    own.style.left = `${Math.max(4, Math.min(at.x - root.left, root.width - width - 4))}px`;
    own.style.top = `${Math.max(4, Math.min(at.y - root.top, root.height - height - 4))}px`;
  }, [box, chooser, store]);
}
