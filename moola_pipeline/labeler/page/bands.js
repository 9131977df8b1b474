// What is drawn behind the candles: the part to judge, the marks, and the bar of the cursor.

/** @typedef {{from: number, to: number, color: string, fill: number, edge?: number, dashed?: boolean, label?: string, low?: boolean, row?: number}} Band */

const LABEL_FONT = "600 11px system-ui, sans-serif";

/** A primitive of a series: bands over whole bars, given by their index on the time axis. */
export class Bands {
  constructor() {
    /** @type {Band[]} */
    this.bands = [];
    /** @type {any} */
    this.attachedTo = null;
  }

  /** @param {any} parameters */
  attached(parameters) {
    this.attachedTo = parameters;
  }

  detached() {
    this.attachedTo = null;
  }

  /** @param {Band[]} bands */
  show(bands) {
    this.bands = bands;
    this.attachedTo?.requestUpdate();
  }

  updateAllViews() {}

  paneViews() {
    return [{ zOrder: () => "bottom", renderer: () => ({ draw: (/** @type {any} */ target) => this.draw(target) }) }];
  }

  /** @param {any} target */
  draw(target) {
    const scale = this.attachedTo?.chart.timeScale();
    if (!scale) return;
    const half = scale.options().barSpacing / 2;
    target.useMediaCoordinateSpace((/** @type {any} */ { context, mediaSize }) => {
      for (const band of this.bands) {
        const [first, last] = [scale.logicalToCoordinate(band.from), scale.logicalToCoordinate(band.to)];
        if (first === null || last === null) continue;
        const [left, width] = [first - half, last - first + 2 * half];
        context.save();
        context.fillStyle = context.strokeStyle = band.color;
        context.globalAlpha = band.fill;
        context.fillRect(left, 0, width, mediaSize.height);
        context.globalAlpha = 1;
        if (band.edge) {
          context.lineWidth = band.edge;
          context.setLineDash(band.dashed ? [4, 3] : []);
          for (const x of [left, left + width]) {
            context.beginPath();
            context.moveTo(x, 0);
            context.lineTo(x, mediaSize.height);
            context.stroke();
          }
        }
        if (band.label) {
          context.font = LABEL_FONT;
          context.fillText(band.label, left + 4, band.low ? mediaSize.height - 6 : 14 + 15 * (band.row ?? 0));
        }
        context.restore();
      }
    });
  }
}
