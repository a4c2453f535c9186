/** What is around the cards of a processor or a group; folded, it is one card. */

import { Handle, Position } from '@xyflow/react';
import type { JSX, ReactNode } from 'react';
import { placeName } from './choices';
import { useStore } from './context';
import { fold } from './groups';
import { Icon } from './icons';
import type { FrameNode } from './scene';
import { isFar, useTextOfAll, useView } from './store';
import { Sum, useStateOfAll } from './Sum';
import { showPlace } from './views';
import { placeId, type Place } from './wiring';

interface FrameProps {
  place: Extract<Place, { kind: 'processor' | 'group' }>;
  data: FrameNode['data'];
  selected: boolean;
  /** Further classes. */
  marks: (string | false)[];
  /** In the title, beside its name. */
  says: ReactNode;
  buttons?: ReactNode;
  children?: ReactNode;
}

export function Frame({ place, data, selected, marks, says, buttons, children }: FrameProps): JSX.Element {
  const store = useStore();
  const far = useView(store, isFar);
  const { name, folded, sockets } = data;
  const called = placeName(place);
  const state = useStateOfAll(store, folded ? sockets : []);
  const failed = useTextOfAll(store, folded ? sockets : [], counts => (counts.some(one => one.failed) ? 'failed' : ''));
  const classes = [
    'ec-group',
    selected && 'ec-selected',
    folded && `ec-folded ec-is-${state}`,
    failed && 'ec-has-failed',
    far && 'ec-far',
    ...marks
  ];
  return (
    <div className={classes.filter(Boolean).join(' ')} role="group" aria-label={called} data-place={placeId(place)} tabIndex={-1}>
      <div className="ec-group-title" onDoubleClick={() => showPlace(store, place)}>
        <b className="ec-name" title={called}>
          {name}
        </b>
        {!far && says}
        <span className="ec-group-buttons nodrag">
          {!far && buttons}
          {sockets.length > 0 && <FoldButton place={place} folded={folded} />}
          {!far && (
            <button tabIndex={-1} aria-label={`Details of ${called}`} title="Details" onClick={() => store.set({ panel: place })}>
              <Icon name="more" />
            </button>
          )}
        </span>
      </div>
      {folded && (
        <>
          <Handle id="in" type="target" position={Position.Left} isConnectable={false} className="ec-stub" />
          <Handle id="out" type="source" position={Position.Right} isConnectable={false} className="ec-stub" />
          {!far && <Sum sockets={sockets} of={called} state={state} />}
        </>
      )}
      {children}
    </div>
  );
}

function FoldButton({ place, folded }: { place: FrameProps['place']; folded: boolean }): JSX.Element {
  const store = useStore();
  const text = folded ? 'Unfold' : 'Fold';
  return (
    <button
      tabIndex={-1}
      aria-label={`${text} ${placeName(place)}`}
      title={folded ? 'Unfold' : 'Fold to one card'}
      onClick={() => fold(store, placeId(place))}
    >
      <Icon name={folded ? 'unfold' : 'fold'} />
    </button>
  );
}
