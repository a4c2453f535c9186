/** A group: what its sockets do, its name, and its end. */

import type { JSX } from 'react';
import { useStore } from '../context';
import { groupId, groupsOf } from '../frames';
import { fold, refold, ungroup } from '../groups';
import { useGraph, useView } from '../store';
import { SumText } from '../Sum';
import { LineForm } from './forms';

const NO_SOCKETS: string[] = [];

export function GroupPanel({ name }: { name: string }): JSX.Element {
  const store = useStore();
  const graph = useGraph(store, known => known);
  const folded = useView(store, view => view.folded.has(groupId(name)));
  const sockets = (graph && groupsOf(graph).get(name)) ?? NO_SOCKETS;
  if (!sockets.length) return <p>This group is gone.</p>;
  return (
    <>
      <p>
        <SumText sockets={sockets} />
      </p>
      <ul className="ec-members">
        {sockets.map(socket => (
          <li key={socket}>
            <button className="ec-plain" onClick={() => store.goTo({ kind: 'socket', socket })}>
              {socket}
            </button>
            <button aria-label={`Take out ${socket}`} onClick={() => void ungroup(store, name, socket)}>
              Take out
            </button>
          </li>
        ))}
      </ul>
      <div className="ec-acts">
        <button onClick={() => fold(store, groupId(name))}>{folded ? 'Unfold' : 'Fold'}</button>
        <button onClick={() => store.set({ panel: { kind: 'renameGroup', group: name } })}>Rename</button>
        <button onClick={() => void ungroup(store, name)}>Ungroup</button>
      </div>
    </>
  );
}

export function GroupingPanel({ sockets }: { sockets: string[] }): JSX.Element {
  const store = useStore();
  return (
    <LineForm
      label="Name of the group"
      act="Group"
      hint={`${sockets.join(', ')}: a frame around them, which folds to one card. The name of a group that is there puts them into it.`}
      change={name => ({ op: 'group', name, sockets })}
      done={name => {
        store.set({ panel: null });
        store.say(`group ${name}: ${sockets.join(', ')}`);
      }}
    />
  );
}

export function RenameGroupPanel({ group }: { group: string }): JSX.Element {
  const store = useStore();
  return (
    <LineForm
      label="New name"
      act="Rename"
      first={group}
      change={to => ({ op: 'rename_group', name: group, to })}
      done={to => {
        refold(store, group, to);
        store.set({ panel: null });
        store.say(`group ${group} is ${to} now`);
      }}
    />
  );
}
