/** Colours of a timeline, in the theme of the page around it. */

import type { Bars } from './lanes';

export interface Inks {
  text: string;
  muted: string;
  line: string;
  faint: string;
  back: string;
  failed: string;
  states: Record<string, string>;
  sockets: string[];
  font: string;
}

/** Of like weight, and apart from each other for those who see few colours; none is the red of what failed. */
const LIGHT = ['#3b7dd8', '#0f8f7f', '#8a63c9', '#b3720a', '#4d9a2a', '#5a6b85', '#1c9bc2', '#c05a9e', '#7d7a1e', '#94683f'];
const DARK = ['#7fb2f5', '#4fc7b5', '#b99af0', '#e3a84a', '#8fd066', '#a3b2c9', '#62cdf0', '#ec95cc', '#c9c55c', '#cfa07a'];

export function inks(box: HTMLElement): Inks {
  const style = getComputedStyle(box);
  const of = (name: string) => resolved(box, `var(${name})`);
  const dark = box.closest<HTMLElement>('.ec-root')?.dataset['theme'] === 'dark';
  return {
    text: of('--ec-text'),
    muted: of('--ec-muted'),
    line: of('--ec-line'),
    faint: of('--ec-hover'),
    back: of('--ec-back'),
    failed: of('--ec-failed'),
    states: {
      done: of('--ec-done'),
      running: of('--ec-running'),
      failed: of('--ec-failed'),
      cancelled: of('--ec-waiting'),
      lost: of('--ec-waiting')
    },
    sockets: dark ? DARK : LIGHT,
    font: `11px ${style.fontFamily}`
  };
}

/** A canvas knows no variables, and no mixing of colours. */
function resolved(box: HTMLElement, colour: string): string {
  const probe = document.createElement('i');
  probe.style.color = colour;
  box.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

export function colourOf(ink: Inks, bars: Bars, bar: number, by: 'socket' | 'state'): string {
  if (by === 'state') return ink.states[bars.state[bar]!] ?? ink.muted;
  return ink.sockets[bars.socket[bar]! % ink.sockets.length]!;
}
