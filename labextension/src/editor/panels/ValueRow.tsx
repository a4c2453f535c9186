/** A value: its text, its type, its size. */

import type { JSX } from 'react';
import { bytes } from '../words';

interface ValueProps {
  name: string;
  text: string;
  type: string;
  size: number;
}

export function ValueRow({ name, text, type, size }: ValueProps): JSX.Element {
  return (
    <div className="ec-value">
      {name && <b>{name}</b>} <span className="ec-muted">{[type, size > 0 && bytes(size)].filter(Boolean).join(', ')}</span>
      <pre tabIndex={0} aria-label={name ? `Value of ${name}` : 'Value'}>
        {text}
      </pre>
    </div>
  );
}
