/** Why a plug was refused, at the place where it was dropped. */

import { useEffect, useLayoutEffect, useRef, type JSX } from 'react';
import { useStore } from './context';
import { dismiss } from './edits';
import { Icon } from './icons';
import { useView, type Refusal } from './store';

/** Long enough to read twice; it stays while the pointer is on it. */
const SECONDS = 12;

export function RefusalBox(): JSX.Element | null {
  const store = useStore();
  const refusal = useView(store, view => view.refusal);
  return refusal && <Box refusal={refusal} />;
}

function Box({ refusal }: { refusal: Refusal }): JSX.Element {
  const store = useStore();
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const [own, root] = [box.current!, store.box!.getBoundingClientRect()];
    const { width, height } = own.getBoundingClientRect();
    own.style.left = `${Math.max(4, Math.min(refusal.at.x - root.left + 8, root.width - width - 4))}px`;
    own.style.top = `${Math.max(4, Math.min(refusal.at.y - root.top + 8, root.height - height - 4))}px`;
  }, [refusal, store]);
  useEffect(() => {
    const look = () => {
      if (!box.current?.matches(':hover, :focus-within')) store.set({ refusal: null });
    };
    const timer = setInterval(look, SECONDS * 1000);
    return () => clearInterval(timer);
  }, [refusal, store]);
  return (
    <div ref={box} className="ec-refusal" role="group" aria-label="Refused">
      <Icon name="failed" />
      <span>{refusal.text}</span>
      {refusal.remedy && (
        <button
          onClick={() => {
            store.set({ refusal: null });
            refusal.remedy!.run();
          }}
        >
          {refusal.remedy.text}
        </button>
      )}
      <button className="ec-plain" aria-label="Dismiss" onClick={() => dismiss(store)}>
        <Icon name="close" />
      </button>
    </div>
  );
}
