// The two charts: the window bar by bar, and what led to it.
import { Bands } from "./bands.js";

/** @typedef {import("./api.js").View} View @typedef {import("./api.js").Span} Span */

/** @type {any} */
const { createChart, CandlestickSeries, LineSeries, LineStyle } = /** @type {any} */ (globalThis).LightweightCharts;
const DAY = 86400;
const GRAB_PIXELS = 7;

/** @param {string} name */
export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** @param {number} seconds  on the New York clock */
export function clock(seconds) {
  const minutes = Math.floor(seconds / 60) % 1440;
  return `${String(Math.floor(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
}

function options() {
  const line = color("line");
  return {
    autoSize: true,
    layout: { background: { color: color("panel") }, textColor: color("soft"), fontSize: 11, attributionLogo: true },
    grid: { vertLines: { visible: false }, horzLines: { color: line, style: 1 } },
    rightPriceScale: { borderColor: line, scaleMargins: { top: 0.08, bottom: 0.06 }, minimumWidth: 76 },
    timeScale: { borderColor: line, rightOffset: 0, minBarSpacing: 1, allowBoldLabels: false },
    crosshair: { mode: 2 },
    handleScroll: false,
    handleScale: false,
  };
}

/** @param {string} up @param {string} down @param {boolean} rises */
const candle = (up, down, rises) => ({ color: rises ? up : down, wickColor: rises ? up : down, borderColor: rises ? up : down });

export class WindowChart {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    this.chart = createChart(element, options());
    this.series = this.chart.addSeries(CandlestickSeries, { priceLineVisible: false, lastValueVisible: false });
    this.bands = new Bands();
    this.series.attachPrimitive(this.bands);
    /** @type {View | null} */
    this.view = null;
    new ResizeObserver(() => this.fit()).observe(element);
  }

  /** @param {View} view */
  show(view) {
    this.view = view;
    const time = (/** @type {number} */ bar) => DAY + bar * 60; // round bar numbers get the tick marks
    const label = (/** @type {number} */ at) => {
      const bar = (at - DAY) / 60;
      return bar % 15 === 0 ? `${bar} · ${clock(this.bar(bar)?.[0] ?? 0)}` : String(bar);
    };
    this.chart.applyOptions({ ...options(), timeScale: { ...options().timeScale, tickMarkFormatter: label } });
    const [up, down] = [color("up"), color("down")];
    this.series.setData(
      view.bars.map(([, open, high, low, close], i) => {
        const bar = i + view.first;
        const faint = bar < 0 ? "66" : "";
        return { time: time(bar), open, high, low, close, ...candle(up + faint, down + faint, close >= open) };
      }),
    );
    this.fit();
  }

  fit() {
    if (this.view) this.chart.timeScale().setVisibleLogicalRange({ from: -0.5, to: this.view.bars.length - 0.5 });
  }

  /** @param {number} bar @returns {import("./api.js").Bar | undefined} */
  bar(bar) {
    return this.view?.bars[bar - this.view.first];
  }

  /**
   * @param {Span[]} spans @param {Span | null} selected @param {Span | null} pending
   * @param {number} cursor @param {[string, Span[]][]} said  marks of others, by who made them
   */
  draw(spans, selected, pending, cursor, said) {
    if (!this.view) return;
    const { first, core } = this.view;
    const at = (/** @type {number} */ bar) => bar - first;
    const band = (/** @type {Span} */ span, /** @type {Omit<import("./bands.js").Band, "from" | "to">} */ rest) => ({ from: at(span.start), to: at(span.end), ...rest });
    const ROWS = 3; // labels of neighbours stand below each other
    const named = (/** @type {Span} */ span) => `${span.type?.[0].toUpperCase() ?? "?"} ${span.start}–${span.end}`;
    this.bands.show([
      { from: at(core[0]), to: at(core[1]), color: color("core-edge"), fill: 0.14, edge: 1, label: `judge what starts in bars ${core[0]}–${core[1]}`, low: true },
      ...said.flatMap(([name, marks]) =>
        marks.map((span) => band(span, { color: color("model"), fill: 0.1, edge: 1.5, dashed: true, label: `${name} ${named(span)}`, row: ROWS })),
      ),
      ...spans.map((span, i) => band(span, { color: color(span.type ?? "open"), fill: span === selected ? 0.3 : 0.18, edge: span === selected ? 2 : 1, label: named(span), row: i % ROWS })),
      ...(pending ? [band(pending, { color: color("open"), fill: 0.15, edge: 1, dashed: true })] : []),
      { from: at(cursor), to: at(cursor), color: color("text"), fill: 0.14 },
    ]);
  }

  /** The bar at a place on the page. @param {MouseEvent} event */
  barAt(event) {
    if (!this.view) return 0;
    const x = event.clientX - this.element.getBoundingClientRect().left;
    const bar = Math.round(this.chart.timeScale().coordinateToLogical(x) ?? 0) + this.view.first;
    return Math.max(0, Math.min(bar, this.view.bars.length + this.view.first - 1));
  }

  /** The end of a span that can be grabbed at a place. @param {MouseEvent} event @param {Span[]} spans */
  endAt(event, spans) {
    if (!this.view) return null;
    const scale = this.chart.timeScale();
    const half = scale.options().barSpacing / 2;
    const x = event.clientX - this.element.getBoundingClientRect().left;
    for (const span of spans) {
      const edges = { start: scale.logicalToCoordinate(span.start - this.view.first) - half, end: scale.logicalToCoordinate(span.end - this.view.first) + half };
      for (const end of /** @type {("start" | "end")[]} */ (["start", "end"])) {
        if (Math.abs(edges[end] - x) <= GRAB_PIXELS) return { span, end };
      }
    }
    return null;
  }
}

export class ContextChart {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.chart = createChart(element, options());
    this.series = this.chart.addSeries(CandlestickSeries, { priceLineVisible: false, lastValueVisible: false });
    this.vwap = this.chart.addSeries(LineSeries, { lineWidth: 1, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false });
    /** @type {any[]} */
    this.lines = [];
    new ResizeObserver(() => this.chart.timeScale().fitContent()).observe(element);
  }

  /** @param {View} view @param {string} minutes */
  show(view, minutes) {
    const { bars, vwap } = view.context[minutes];
    const label = (/** @type {number} */ at) => clock(bars[Math.round((at - DAY) / 60)]?.[0] ?? 0);
    this.chart.applyOptions({ ...options(), timeScale: { ...options().timeScale, tickMarkFormatter: label } });
    const [up, down] = [color("up"), color("down")];
    this.series.setData(bars.map(([, open, high, low, close], i) => ({ time: DAY + i * 60, open, high, low, close, ...candle(up, down, close >= open) })));
    this.vwap.applyOptions({ color: color("open") });
    this.vwap.setData((vwap ?? []).flatMap((value, i) => (value === null ? [] : [{ time: DAY + i * 60, value }])));
    for (const line of this.lines) this.series.removePriceLine(line);
    // at one pixel the library's "dashed" looks dotted, and its "dotted" solid
    this.lines = Object.entries(view.levels).map(([name, price]) =>
      this.series.createPriceLine({ price, color: color("soft"), lineWidth: 1, lineStyle: name.startsWith("prior") ? LineStyle.LargeDashed : LineStyle.Dashed, axisLabelVisible: false, title: name }),
    );
    this.chart.timeScale().fitContent();
  }
}
