/** A question to the flow whose answer a panel shows. */

import { useCallback, useEffect, useRef, useState } from 'react';
import { useStore } from '../context';
import { useLife } from '../store';
import type { Answer } from '../types';

/** The newest answer, and how to ask again; asked anew whenever `anew` changes. */
export function useAnswer(op: string, args: Record<string, unknown>, anew: unknown = null): [Answer | null, () => void] {
  const store = useStore();
  const [answer, setAnswer] = useState<Answer | null>(null);
  const key = JSON.stringify(args);
  // what was asked while nobody could answer is asked again once somebody can
  const live = useLife(store) === 'live';
  // an answer that comes late must not stand for what was asked since
  const turn = useRef(0);
  const ask = useCallback(() => {
    const mine = ++turn.current;
    void store.host.command(op, JSON.parse(key) as Record<string, unknown>).then(found => {
      if (mine === turn.current) setAnswer(found);
    });
  }, [store, op, key]);
  useEffect(ask, [ask, anew, live]);
  return [answer, ask];
}
