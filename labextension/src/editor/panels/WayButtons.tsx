/** From a request to its way: what it came from and led to, its run, and when that ran. */

import type { JSX } from 'react';
import { useStore } from '../context';
import { showLog } from '../views';

export function WayButtons({ id }: { id: number }): JSX.Element {
  const store = useStore();
  const timeline = async () => {
    if (await store.story.choose(id)) store.set({ panel: { kind: 'timeline', run: store.story.way!.run } });
  };
  return (
    <>
      <button title="Light up what it came from and what it led to" onClick={() => void store.story.choose(id, true)}>
        Its way
      </button>
      <button title="Light up its run" onClick={() => void store.story.choose(id)}>
        Its run
      </button>
      <button title="When and where its run's calls ran" onClick={() => void timeline()}>
        Timeline
      </button>
      <button title="What it printed, and what happened to it" onClick={() => showLog(store, null, id)}>
        Its log
      </button>
    </>
  );
}
