/** Source of tasks as lines: highlighted, and what differs between two versions. Pure. */

import { diffLines } from 'diff';
import hljs from 'highlight.js/lib/core';
import python from 'highlight.js/lib/languages/python';

hljs.registerLanguage('python', python);

/** HTML of its tokens; all else in it is escaped. */
export function highlighted(text: string): string {
  return hljs.highlight(text, { language: 'python', ignoreIllegals: true }).value;
}

export interface DiffLine {
  sign: ' ' | '+' | '-';
  text: string;
}

/** Every line of both, those that only `was` has before those that only `now` has. */
export function difference(was: string, now: string): DiffLine[] {
  const ended = (text: string) => (text.endsWith('\n') ? text : `${text}\n`);
  return diffLines(ended(was), ended(now)).flatMap(({ value, added, removed }) =>
    value
      .replace(/\n$/, '')
      .split('\n')
      .map((text): DiffLine => ({ sign: added ? '+' : removed ? '-' : ' ', text }))
  );
}
