/** Calls as bars over time, a row for each CPU of each processor: drawn on a canvas, loaded when it is first opened. */

import { colourOf, inks, type Inks } from './inks';
import { laid, type Bars, type Lane } from './lanes';
import { clockOf, ticks } from './ticks';

export type { Bars } from './lanes';

const GUTTER = 128;
const AXIS = 22;
const ROW = 20;
const BAR = 14;
/** Milliseconds in which all that comes into view is gone through once. */
const STEP = 0.15;

export interface Sight {
  from: number;
  to: number;
  top: number;
}

export interface Shown {
  bars: Bars;
  /** Seconds since the epoch up to which what runs is drawn. */
  now: number;
  by: 'socket' | 'state';
  /** Of this run alone; the others are dim. */
  run: number | null;
}

export interface Asked {
  /** A bar was clicked. */
  open: (bar: number) => void;
  /** What is in view has changed. */
  moved: (sight: Sight) => void;
}

export interface Chart {
  show(shown: Shown): void;
  /** All of it, or what was in view before. */
  look(sight: Sight | null): void;
  zoom(factor: number): void;
  close(): void;
}

export function chart(box: HTMLElement, asked: Asked): Chart {
  return new Drawing(box, asked);
}

class Drawing implements Chart {
  private canvas = document.createElement('canvas');
  private tip = document.createElement('div');
  private lanes: Lane[] = [];
  private shown: Shown | null = null;
  private sight: Sight = { from: 0, to: 1, top: 0 };
  private ink: Inks;
  private frame = 0;
  private held: { x: number; y: number; sight: Sight; moved: boolean } | null = null;
  private over = -1;
  private readonly sizes: ResizeObserver;
  private readonly themes: MutationObserver;

  constructor(
    private readonly box: HTMLElement,
    private readonly asked: Asked
  ) {
    const { canvas, tip } = this;
    canvas.tabIndex = 0;
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', 'Timeline');
    tip.className = 'ec-bar-tip';
    tip.setAttribute('aria-hidden', 'true');
    tip.hidden = true;
    box.append(canvas, tip);
    this.ink = inks(box);
    canvas.addEventListener('wheel', this.wheel, { passive: false });
    canvas.addEventListener('pointerdown', this.press);
    canvas.addEventListener('pointermove', this.point);
    canvas.addEventListener('pointerup', this.release);
    canvas.addEventListener('pointerleave', () => this.hover(-1, 0, 0));
    canvas.addEventListener('keydown', this.key);
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(box);
    this.themes = new MutationObserver(() => {
      this.ink = inks(box);
      this.draw();
    });
    const root = box.closest('.ec-root');
    if (root) this.themes.observe(root, { attributes: true, attributeFilter: ['data-theme'] });
  }

  close(): void {
    cancelAnimationFrame(this.frame);
    this.sizes.disconnect();
    this.themes.disconnect();
    this.canvas.remove();
    this.tip.remove();
  }

  show(shown: Shown): void {
    if (shown.bars !== this.shown?.bars) this.lanes = laid(shown.bars);
    this.shown = shown;
    const failed = shown.bars.state.filter(state => state === 'failed').length;
    const says = `Timeline of ${many(shown.bars.id.length, 'call')} on ${many(this.lanes.length, 'CPU')}`;
    this.canvas.setAttribute(
      'aria-label',
      `${says}${failed ? `, ${failed} failed` : ''}. Arrow keys move, plus and minus zoom, Home shows all`
    );
    this.draw();
  }

  look(sight: Sight | null): void {
    this.go(sight ?? this.all());
  }

  zoom(factor: number): void {
    this.zoomAt(factor, (this.sight.from + this.sight.to) / 2);
  }

  private all(): Sight {
    if (!this.shown?.bars.id.length) return { from: 0, to: 1, top: 0 };
    const from = this.lanes.reduce((least, lane) => Math.min(least, lane.starts[0]!), Infinity);
    const to = this.lanes.reduce((most, lane) => Math.max(most, lane.until(this.shown!.now)), -Infinity);
    const room = Math.max(to - from, 1e-3) * 0.03;
    return { from: from - room, to: to + room, top: 0 };
  }

  private go({ from, to, top }: Sight): void {
    const most = Math.max(0, this.lanes.length * ROW - (this.box.clientHeight - AXIS));
    this.sight = { from, to: Math.max(to, from + 1e-5), top: Math.min(Math.max(0, top), most) };
    this.asked.moved(this.sight);
    this.draw();
  }

  private get scale(): number {
    return Math.max(1, this.box.clientWidth - GUTTER) / (this.sight.to - this.sight.from);
  }

  private zoomAt(factor: number, at: number): void {
    const { from, to, top } = this.sight;
    const span = Math.min(Math.max((to - from) / factor, 1e-4), 40 * 86_400);
    const part = (at - from) / (to - from);
    this.go({ from: at - part * span, to: at + (1 - part) * span, top });
  }

  private pan(time: number, rows: number): void {
    const { from, to, top } = this.sight;
    this.go({ from: from + time, to: to + time, top: top + rows * ROW });
  }

  // -- what a person does -----------------------------------------------------------
  private wheel = (event: WheelEvent): void => {
    // until it has the focus the wheel is the page's
    if (document.activeElement !== this.canvas) return;
    event.preventDefault();
    event.stopPropagation();
    const { x } = this.at(event);
    const span = this.sight.to - this.sight.from;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      this.pan(((event.deltaX || event.deltaY) / 400) * span, 0);
    } else if (x < GUTTER) this.pan(0, Math.sign(event.deltaY) * 2);
    else this.zoomAt(Math.exp(-event.deltaY / 400), this.sight.from + (x - GUTTER) / this.scale);
  };

  private press = (event: PointerEvent): void => {
    if (event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.focus({ preventScroll: true });
    this.held = { ...this.at(event), sight: this.sight, moved: false };
  };

  private point = (event: PointerEvent): void => {
    const { x, y } = this.at(event);
    const { held } = this;
    if (!held) return this.hover(this.barAt(x, y), x, y);
    const [by, down] = [x - held.x, y - held.y];
    if (!held.moved && Math.abs(by) + Math.abs(down) < 4) return;
    held.moved = true;
    this.hover(-1, x, y);
    const { from, to, top } = held.sight;
    const time = by / this.scale;
    this.go({ from: from - time, to: to - time, top: top - down });
  };

  private release = (event: PointerEvent): void => {
    const { held } = this;
    this.held = null;
    if (!held || held.moved) return;
    const { x, y } = this.at(event);
    const bar = this.barAt(x, y);
    if (bar >= 0) this.asked.open(bar);
  };

  private key = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const span = this.sight.to - this.sight.from;
    const act: Record<string, () => void> = {
      ArrowLeft: () => this.pan(-STEP * span, 0),
      ArrowRight: () => this.pan(STEP * span, 0),
      ArrowUp: () => this.pan(0, -1),
      ArrowDown: () => this.pan(0, 1),
      '+': () => this.zoom(1.5),
      '=': () => this.zoom(1.5),
      '-': () => this.zoom(1 / 1.5),
      Home: () => this.look(null)
    };
    if (!act[event.key]) return;
    act[event.key]!();
    event.preventDefault();
    event.stopPropagation();
  };

  private at(event: MouseEvent): { x: number; y: number } {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  private barAt(x: number, y: number): number {
    const lane = this.lanes[Math.floor((y - AXIS + this.sight.top) / ROW)];
    if (!lane || !this.shown || x < GUTTER || y < AXIS) return -1;
    const time = this.sight.from + (x - GUTTER) / this.scale;
    return lane.near(time, 2 / this.scale, this.shown.now);
  }

  private hover(bar: number, x: number, y: number): void {
    if (bar !== this.over) {
      this.over = bar;
      this.canvas.style.cursor = bar < 0 ? 'grab' : 'pointer';
      this.tip.hidden = bar < 0;
      if (bar >= 0) this.tip.textContent = this.says(bar);
      this.draw();
    }
    if (bar < 0) return;
    const left = Math.min(x + 12, this.box.clientWidth - this.tip.offsetWidth - 4);
    const under = y + 18 + this.tip.offsetHeight < this.box.clientHeight;
    this.tip.style.transform = `translate(${Math.max(0, left)}px, ${under ? y + 16 : y - 12 - this.tip.offsetHeight}px)`;
  }

  private says(bar: number): string {
    const { bars } = this.shown!;
    const state = bars.state[bar]!;
    return `request ${bars.id[bar]} of ${bars.sockets[bars.socket[bar]!]}: ${state}, ${clockOf(bars.started[bar]!, 0.01)}, ${bars.tookText(bar)}`;
  }

  // -- drawing --------------------------------------------------------------------
  private draw(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  private paint(): void {
    const { clientWidth: width, clientHeight: height } = this.box;
    const dots = window.devicePixelRatio || 1;
    if (!width || !height || !this.shown) return;
    if (this.canvas.width !== Math.round(width * dots) || this.canvas.height !== Math.round(height * dots)) {
      this.canvas.width = Math.round(width * dots);
      this.canvas.height = Math.round(height * dots);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
    }
    const pen = this.canvas.getContext('2d')!;
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = this.ink.font;
    pen.textBaseline = 'middle';
    this.paintAxis(pen, width, height);
    const first = Math.floor(this.sight.top / ROW);
    const last = Math.min(this.lanes.length - 1, Math.ceil((this.sight.top + height - AXIS) / ROW));
    pen.save();
    pen.beginPath();
    pen.rect(0, AXIS, width, height - AXIS);
    pen.clip();
    for (let at = first; at <= last; at++) this.paintLane(pen, this.lanes[at]!, AXIS + at * ROW - this.sight.top, width);
    pen.restore();
  }

  private paintAxis(pen: CanvasRenderingContext2D, width: number, height: number): void {
    const { from, to } = this.sight;
    const { step, times } = ticks(from, to, Math.max(2, Math.floor((width - GUTTER) / 100)));
    for (const time of times) {
      const x = GUTTER + (time - from) * this.scale;
      if (x < GUTTER) continue;
      pen.fillStyle = this.ink.faint;
      pen.fillRect(Math.round(x), AXIS - 4, 1, height);
      pen.fillStyle = this.ink.muted;
      pen.fillText(clockOf(time, step), x + 4, AXIS / 2);
    }
    pen.fillStyle = this.ink.line;
    pen.fillRect(0, AXIS - 1, width, 1);
    pen.fillRect(GUTTER - 1, 0, 1, height);
  }

  private paintLane(pen: CanvasRenderingContext2D, lane: Lane, y: number, width: number): void {
    const { ink } = this;
    if (lane.leads) {
      pen.fillStyle = ink.line;
      pen.fillRect(0, y, width, 1);
    }
    pen.fillStyle = lane.leads ? ink.text : ink.muted;
    pen.fillText(
      fitted(pen, lane.leads ? `${lane.processor} · ${lane.cpu}` : lane.cpu, GUTTER - 14),
      lane.leads ? 6 : 14,
      y + ROW / 2 + 1
    );
    pen.save();
    pen.beginPath();
    pen.rect(GUTTER, y, width - GUTTER, ROW);
    pen.clip();
    this.paintBars(pen, lane, y + (ROW - BAR) / 2, width);
    pen.restore();
  }

  /** What falls on the same pixels in the same colour is drawn once. */
  private paintBars(pen: CanvasRenderingContext2D, lane: Lane, y: number, width: number): void {
    const { bars, by, run, now } = this.shown!;
    const { from } = this.sight;
    const scale = this.scale;
    let [end, colour] = [-1, ''];
    const loud: number[] = [];
    for (let at = lane.from(from); at < lane.bars.length; at++) {
      const bar = lane.bars[at]!;
      const x = GUTTER + (lane.starts[at]! - from) * scale;
      if (x > width) break;
      const right = Math.max(x + 1.5, GUTTER + (bars.end(bar, now) - from) * scale);
      const dim = run !== null && bars.run[bar] !== run;
      if (bars.state[bar] === 'failed' || bar === this.over) loud.push(bar);
      const ink = dim ? this.ink.faint : colourOf(this.ink, bars, bar, by);
      if (right <= end && ink === colour) continue;
      pen.fillStyle = colour = ink;
      // a hair between two that follow each other at once
      pen.fillRect(x, y, Math.max(1, right - x - (right - x > 4 ? 1 : 0)), BAR);
      end = right;
    }
    for (const bar of loud) this.paintLoud(pen, bar, y, dimmed(run, bars, bar));
  }

  /** Failed: red, higher, and with a cross where there is room; the one under the pointer has a frame. */
  private paintLoud(pen: CanvasRenderingContext2D, bar: number, y: number, dim: boolean): void {
    const { bars, now } = this.shown!;
    const x = GUTTER + (bars.started[bar]! - this.sight.from) * this.scale;
    const wide = Math.max(3, (bars.end(bar, now) - bars.started[bar]!) * this.scale);
    if (bars.state[bar] === 'failed' && !dim) {
      pen.fillStyle = this.ink.failed;
      pen.fillRect(x, y - 2, wide, BAR + 4);
      if (wide > 12) {
        pen.strokeStyle = this.ink.back;
        pen.lineWidth = 1.5;
        const [cx, cy] = [x + Math.min(wide / 2, 10), y + BAR / 2];
        pen.beginPath();
        pen.moveTo(cx - 3, cy - 3);
        pen.lineTo(cx + 3, cy + 3);
        pen.moveTo(cx + 3, cy - 3);
        pen.lineTo(cx - 3, cy + 3);
        pen.stroke();
      }
    }
    if (bar === this.over) {
      pen.strokeStyle = this.ink.text;
      pen.lineWidth = 1.5;
      pen.strokeRect(x - 1, y - 2, wide + 1, BAR + 4);
    }
  }
}

const dimmed = (run: number | null, bars: Bars, bar: number): boolean => run !== null && bars.run[bar] !== run;

function fitted(pen: CanvasRenderingContext2D, text: string, room: number): string {
  if (pen.measureText(text).width <= room) return text;
  let cut = text;
  while (cut && pen.measureText(`${cut}…`).width > room) cut = cut.slice(0, -1);
  return `${cut}…`;
}

const many = (count: number, one: string): string => `${count.toLocaleString('en')} ${one}${count === 1 ? '' : 's'}`;
