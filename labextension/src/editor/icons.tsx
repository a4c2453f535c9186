/** Small signs; each stands beside a word or has a title, for a shape alone says too little. */

import type { JSX } from 'react';

const PATHS = {
  queued: 'M3 4h10M3 8h10M3 12h10',
  running: 'M5 3l8 5-8 5z',
  done: 'M3 8.5l3.5 3.5L13 4.5',
  failed: 'M4 4l8 8M12 4l-8 8',
  asked: 'M6 6a2 2 0 114 0c0 1.5-2 1.7-2 3.4M8 12.2h.01M8 1.8a6.2 6.2 0 100 12.4A6.2 6.2 0 008 1.8z',
  delayed: 'M8 4.2V8l2.4 1.6M8 1.8a6.2 6.2 0 100 12.4A6.2 6.2 0 008 1.8z',
  waiting: 'M4 2.5h8M4 13.5h8M5 2.5c0 5 6 6 6 11M11 2.5c0 5-6 6-6 11',
  paused: 'M5.5 3.5v9M10.5 3.5v9',
  parked: 'M5 13V3h4a3 3 0 010 6H5',
  aside: 'M8 2l6.5 11.5h-13zM8 6.5v3M8 11.5h.01',
  idle: 'M8 5a3 3 0 100 6 3 3 0 000-6z',
  stale: 'M8 4v4l3 2M8 2a6 6 0 105.5 3.6M13.8 2v3.8H10',
  undo: 'M6 3L2.5 6.5 6 10M3 6.5h6.5a4 4 0 010 8H7',
  redo: 'M10 3l3.5 3.5L10 10M13 6.5H6.5a4 4 0 000 8H9',
  tidy: 'M2 3h4v4H2zM10 3h4v4h-4zM10 10h4v4h-4zM6 5h4M8 5v7h2',
  fit: 'M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4',
  search: 'M7 2.5a4.5 4.5 0 100 9 4.5 4.5 0 000-9zM10.5 10.5L14 14',
  outline: 'M2 3h2M6 3h8M4 8h2M8 8h6M4 13h2M8 13h6',
  rates: 'M2 13h12M3 10l3-4 3 2 4-5',
  log: 'M2 3h12M2 6.3h8M2 9.6h12M2 13h6',
  metrics: 'M2.5 2v11.5H14M5.5 11V8M8.5 11V4.5M11.5 11V7',
  code: 'M5.5 4L2 8l3.5 4M10.5 4L14 8l-3.5 4',
  more: 'M3.5 8h.01M8 8h.01M12.5 8h.01',
  help: 'M6 6a2 2 0 114 0c0 1.5-2 1.7-2 3.4M8 12.2h.01',
  close: 'M4 4l8 8M12 4l-8 8',
  fold: 'M4 10l4-4 4 4',
  unfold: 'M4 6l4 4 4-4',
  open: 'M6 4l4 4-4 4',
  back: 'M10 3L5 8l5 5',
  add: 'M8 3v10M3 8h10',
  minus: 'M3 8h10',
  map: 'M2 4h12v8H2zM10 4v8',
  atRight: 'M2 3h12v10H2zM10 3v10',
  below: 'M2 3h12v10H2zM2 9.5h12',
  tab: 'M9 2.5h4.5V7M13.5 2.5L8 8M6.5 3.5h-4v10h10v-4',
  full: 'M2 6V2.5h3.5M14 6V2.5h-3.5M2 10v3.5h3.5M14 10v3.5h-3.5M5.5 6h5v4h-5z',
  note: 'M2.5 2.5h11v7l-4 4h-7zM13.5 9.5h-4v4M5 6h6M5 8.5h3',
  past: 'M8 4.5V8l2.5 1.5M8 2a6 6 0 100 12A6 6 0 008 2z',
  timeline: 'M2 4h6M5 8h8M3 12h5',
  runs: 'M3 3.5h3M10 8h3M10 12.5h3M6 3.5c4 0 0 4.5 4 4.5M6 3.5c4 0 0 9 4 9',
  save: 'M8 2v8M4.5 7L8 10.5 11.5 7M3 13.5h10'
};

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg className={`ec-icon ec-icon-${name}`} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
