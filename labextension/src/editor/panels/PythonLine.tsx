/** An expression of an option, set by the kernel that knows its names. */

import { useState, type JSX } from 'react';
import { useStore } from '../context';
import type { Answer } from '../types';
import { Form } from './forms';

interface PythonLineProps {
  label: string;
  first: string;
  placeholder: string;
  hint: string;
  send: (text: string) => Promise<Answer>;
  said: (text: string) => string;
}

export function PythonLine({ label, first, placeholder, hint, send, said }: PythonLineProps): JSX.Element {
  const store = useStore();
  const [text, setText] = useState(first);
  return (
    <Form act={`Set ${label}`} send={() => send(text)} done={() => store.say(said(text.trim()))}>
      <label>
        <b>{label}</b>
        <input className="ec-python" value={text} placeholder={placeholder} onChange={event => setText(event.target.value)} />
      </label>
      <p className="ec-muted">{hint}</p>
    </Form>
  );
}
