/** What a socket's newest failed call raised, on its card. */

import type { JSX } from 'react';
import { useStore } from './context';
import { useFailure } from './store';

export function LastError({ name }: { name: string }): JSX.Element | null {
  const store = useStore();
  const failure = useFailure(store, name);
  if (!failure) return null;
  const text = `${failure.type}: ${failure.message}`;
  return (
    <button
      className="ec-last-error nodrag"
      tabIndex={-1}
      aria-label={`Last failure of ${name}: ${text.slice(0, 120)}`}
      title={text.slice(0, 400)}
      onClick={() => store.set({ panel: { kind: 'request', id: failure.id, socket: name, state: 'failed' } })}
    >
      {text.slice(0, 120)}
    </button>
  );
}
