/** The slider of the past under the picture, and over it, while it is not now, the banner that says so. */

import { useEffect, useRef, type JSX } from 'react';
import { useStore } from './context';
import { Icon } from './icons';
import { usePast } from './past';
import { moment } from './words';

const STEPS = 1000;

const UNKNOWN =
  'Not on record, and so not shown: what was paused, how many CPUs were in use and how far calls were. ' +
  'A request that waited for an argument or for a retry counts as queued; a value that was set aside, replaced or thrown away since is not counted.';

export function PastBanner(): JSX.Element | null {
  const store = useStore();
  const time = usePast(store, past => past.time);
  const revision = usePast(store, past => past.revision);
  const whole = usePast(store, past => past.whole);
  if (time === null) return null;
  const edit = store.past.edit;
  return (
    <div className="ec-bar ec-bar-past" role="region" aria-label="This is the past">
      <Icon name="past" />
      <span className="ec-bar-text">
        <b>This is the past: {moment(time)}</b>
        {revision !== null && (
          <span className="ec-muted">
            {revision ? ` · revision ${revision}` : ' · before the first edit'}
            {edit && ` · ${edit.text}`}
            {!whole && ' · counts of the first requests alone, for there are too many'}
          </span>
        )}
      </span>
      <details className="ec-unknown">
        <summary>What is not shown</summary>
        <p>{UNKNOWN}</p>
      </details>
      <button data-first onClick={() => store.past.back()}>
        Back to now
      </button>
    </div>
  );
}

export function PastSlider(): JSX.Element | null {
  const store = useStore();
  const since = usePast(store, past => past.since);
  const time = usePast(store, past => past.time);
  const range = useRef<HTMLInputElement>(null);
  const open = since !== null;
  useEffect(() => {
    if (open) range.current?.focus({ preventScroll: true });
  }, [open]);
  if (!since) return null;
  const { from, to, revisions } = since;
  const span = Math.max(to - from, 1e-3);
  const at = time === null ? STEPS : Math.round(((time - from) / span) * STEPS);
  const go = (step: number) => (step >= STEPS ? store.past.back() : store.past.go(from + (step / STEPS) * span));
  const before = revisions.filter(one => one.time < (time ?? Infinity) - 1e-6).pop();
  const after = time === null ? undefined : revisions.find(one => one.time > time + 1e-6);
  return (
    <div className="ec-slider" role="group" aria-label="The flow as it was">
      <button
        aria-label="Edit before"
        title={before ? `${moment(before.time)}: ${before.text}` : 'None'}
        disabled={!before}
        onClick={() => store.past.go(before!.time)}
      >
        <Icon name="back" />
      </button>
      <span className="ec-track">
        <span className="ec-revisions" aria-hidden="true">
          {marks(revisions.map(one => (one.time - from) / span)).map(part => (
            <i key={part} style={{ left: `${part * 100}%` }} />
          ))}
        </span>
        <input
          ref={range}
          type="range"
          min={0}
          max={STEPS}
          value={at}
          aria-label="Time"
          aria-valuetext={time === null ? 'now' : `${moment(time)}${store.past.edit ? `, after ${store.past.edit.text}` : ''}`}
          onChange={event => go(Number(event.target.value))}
        />
      </span>
      <button
        aria-label="Edit after"
        title={after ? `${moment(after.time)}: ${after.text}` : 'None'}
        disabled={!after}
        onClick={() => store.past.go(after!.time)}
      >
        <Icon name="open" />
      </button>
      <span className="ec-number ec-when">{time === null ? 'now' : moment(time)}</span>
      <button className="ec-plain" aria-label="Close the past" title="Close the past (Escape)" onClick={() => store.past.shut()}>
        <Icon name="close" />
      </button>
    </div>
  );
}

/** Places of edits, as many as can be told apart. */
function marks(parts: number[]): number[] {
  return [...new Set(parts.map(part => Math.round(part * 300) / 300))];
}
