/** The whole editor: toolbar, picture, outline, one panel, and the line that says what happened. */

import { ReactFlowProvider } from '@xyflow/react';
import { useEffect, useRef, type JSX } from 'react';
import { Banner } from './Banner';
import { Canvas } from './Canvas';
import { ChooserBox } from './ChooserBox';
import { useStore } from './context';
import { Foretold } from './Foretold';
import { editorKey } from './keys';
import { Minimap, Zoom } from './Minimap';
import { Outline } from './Outline';
import { PastBanner, PastSlider } from './PastBar';
import { StoryBar } from './StoryBar';
import { useStory } from './story';
import { usePast } from './past';
import { PanelBox } from './panels/PanelBox';
import { useSide } from './panels/side';
import { RefusalBox } from './RefusalBox';
import { useGraph, useLife, useView } from './store';
import { useTheme } from './theme';
import { Toolbar } from './Toolbar';

export function Editor(): JSX.Element {
  const store = useStore();
  const box = useRef<HTMLDivElement>(null);
  const life = useLife(store);
  const outline = useView(store, view => view.outline);
  const panel = useView(store, view => view.panel);
  const plugging = useView(store, view => view.plugging);
  const story = useStory(store, of => of.on);
  const past = usePast(store, of => of.on);
  const middle = useView(store, view => view.detail === 'middle');
  const [side, turn] = useSide(box, panel?.kind, outline);
  useTheme(box);
  useRates();
  useEffect(() => {
    store.box = box.current;
  }, [store]);
  return (
    <div
      ref={box}
      className={`ec-root ec-life-${life}${plugging ? ' ec-plugging' : ''}${story ? ' ec-story' : ''}${past ? ' ec-past' : ''}${middle ? ' ec-middle' : ''}`}
      role="region"
      aria-label="Flow editor"
      // or Lab takes x, dd, a, b and Delete for its cells: some of its shortcuts look for the mark
      // no further than at what has the focus
      data-lm-suppress-shortcuts="true"
      onFocusCapture={event => event.target.setAttribute('data-lm-suppress-shortcuts', 'true')}
      onKeyDown={event => editorKey(store, event)}
      // a click beside everything, or on what goes away with it, must not leave the keys to the page
      tabIndex={-1}
      onClick={event => keepFocus(event.currentTarget)}
      onContextMenu={event => event.stopPropagation()}
    >
      <ReactFlowProvider>
        <Toolbar />
        <div className={`ec-desk${panel ? ` ec-${side}` : ''}`}>
          <div className="ec-work">
            <div className="ec-main">
              {outline && <Outline />}
              <div className="ec-stage">
                <StoryBar />
                <PastBanner />
                <Canvas />
                <Empty />
                <Banner />
              </div>
              <Minimap />
            </div>
            <PastSlider />
          </div>
          {panel && <PanelBox panel={panel} side={side} turn={turn} />}
        </div>
        <Said />
      </ReactFlowProvider>
      <ChooserBox />
      <RefusalBox />
    </div>
  );
}

function keepFocus(root: HTMLElement): void {
  requestAnimationFrame(() => {
    if (root.isConnected && document.activeElement === document.body) root.focus({ preventScroll: true });
  });
}

function Said(): JSX.Element {
  const store = useStore();
  const life = useLife(store);
  const spoken = useView(store, view => view.spoken);
  const revision = useGraph(store, graph => graph?.revision);
  const plugs = useGraph(store, graph => graph?.plugs.length ?? 0);
  const sockets = useGraph(store, graph => Object.keys(graph?.sockets ?? {}).length);
  return (
    <div className="ec-said">
      {life === 'connecting' && <span className="ec-life">Connecting to the {store.host.behind ?? 'kernel'}…</span>}
      <span role="status" aria-live="polite" className="ec-spoken" title={spoken}>
        {spoken}
      </span>
      <Foretold />
      {revision !== undefined && (
        <span className="ec-muted">
          {sockets} {sockets === 1 ? 'socket' : 'sockets'} · {plugs} {plugs === 1 ? 'plug' : 'plugs'} · revision {revision}
        </span>
      )}
      <Zoom />
    </div>
  );
}

function Empty(): JSX.Element | null {
  const store = useStore();
  const sockets = useGraph(store, graph => graph && Object.keys(graph.sockets).length);
  if (sockets) return null;
  if (sockets === null) return <div className="ec-empty">No flow yet.</div>;
  return (
    <div className="ec-empty">
      <p>
        <b>No sockets yet.</b> A function in a cell becomes one:
      </p>
      <pre>{'%%ec_socket\ndef count(text: str) -> int:\n    return len(text.split())'}</pre>
      <p>Run a second one, then drag from an output to an argument to plug them.</p>
    </div>
  );
}

/** Rates cost the engine a question each, so they are asked for only while somebody looks. */
function useRates(): void {
  const store = useStore();
  const on = useView(store, view => view.rates);
  // remembered from another picture, it may be on before anybody can answer
  const live = useLife(store) === 'live';
  useEffect(() => {
    if (!on) return;
    const look = async () => {
      if (document.hidden || store.life !== 'live') return;
      const answer = await store.host.command('rates');
      if (answer.ok) store.setRates(answer['sockets'] as Parameters<typeof store.setRates>[0]);
    };
    const hour = async () => {
      if (document.hidden || store.life !== 'live') return;
      const answer = await store.host.command('statistics', { by: 'socket', pulse: true });
      if (answer.ok) store.setPulses(answer['rows'] as Parameters<typeof store.setPulses>[0]);
    };
    void look();
    void hour();
    const timers = [setInterval(() => void look(), 2000), setInterval(() => void hour(), 15_000)];
    return () => timers.forEach(timer => clearInterval(timer));
  }, [store, on, live]);
}
