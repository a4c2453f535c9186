/** The code of a socket's task: as it is in each version, what differs, and a new version written in place. */

import { useState, type JSX } from 'react';
import { useStore } from '../context';
import { askLab, inLab } from '../lab';
import { useGraph, type Store } from '../store';
import { clock } from '../words';
import { useAnswer } from './ask';
import { Code, Difference, Writing } from './SourceParts';

export interface Version {
  version: number;
  created: number;
  client: string;
  source: string;
}

export function SourcePanel({ name }: { name: string }): JSX.Element {
  const store = useStore();
  const current = useGraph(store, graph => graph?.sockets[name]?.task.version);
  const [answer] = useAnswer('versions', { socket: name }, current);
  const [chosen, setChosen] = useState<number | null>(null);
  const [than, setThan] = useState<number | null>(null);
  const [writing, setWriting] = useState(false);
  if (current === undefined) return <p>This socket is gone.</p>;
  if (!answer) return <p className="ec-muted">Asking…</p>;
  if (!answer.ok) return <p className="ec-warn">{answer.error}</p>;
  const rows = [...(answer['rows'] as Version[])].sort((a, b) => b.version - a.version);
  const shown = rows.find(row => row.version === (chosen ?? current)) ?? rows[0];
  const other = rows.find(row => row.version === than);
  if (!shown) return <p className="ec-muted">No version of its task is known.</p>;
  if (writing) return <Writing socket={name} from={shown} leave={() => setWriting(false)} />;
  return (
    <>
      <div className="ec-versions">
        <label>
          <b>version</b>
          <select data-first value={shown.version} onChange={event => setChosen(Number(event.target.value))}>
            {rows.map(row => (
              <option key={row.version} value={row.version}>
                {label(row, current)}
              </option>
            ))}
          </select>
        </label>
        {rows.length > 1 && (
          <label>
            <b>compare with</b>
            <select value={than ?? ''} onChange={event => setThan(event.target.value ? Number(event.target.value) : null)}>
              <option value="">none</option>
              {rows
                .filter(row => row !== shown)
                .map(row => (
                  <option key={row.version} value={row.version}>
                    {label(row, current)}
                  </option>
                ))}
            </select>
          </label>
        )}
      </div>
      <div className="ec-acts">
        <button onClick={() => setWriting(true)}>Edit</button>
        {inLab() && <button onClick={() => void jump(store, name, shown.source)}>Go to its cell</button>}
      </div>
      {other ? <Difference was={other} now={shown} /> : <Code text={shown.source} />}
    </>
  );
}

function label({ version, created, client }: Version, current: number): string {
  return [`${version}${version === current ? ' (in force)' : ''}`, clock(created), client].filter(Boolean).join(' · ');
}

async function jump(store: Store, socket: string, source: string): Promise<void> {
  const answer = await askLab(store, 'jump', { socket, source });
  if (answer && !answer.ok) store.say(answer.error ?? 'its cell was not found');
}
