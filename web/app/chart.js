// SPDX-License-Identifier: Apache-2.0
// The hydrograph: level as a line (rain as bars), thresholds as labelled lines, silence as a hatched band. Drawn by
// uPlot on a canvas; the table below the chart says the same in text.

import uPlot from "../vendor/uplot-1.6.32/uPlot.esm.js";
import { formatDay, formatHourMinute, formatNumber, formatValue, timeZone, unitText } from "./format.js";
import { inkOn, stageName, stageOf } from "./stages.js";
import { t } from "./i18n.js";

/** @import { Point, Stage, Station } from "./types.js" */

const DAY = 86400;
const FONT = '12px system-ui, "Hiragino Sans", "Noto Sans JP", "Noto Sans CJK JP", "Yu Gothic UI", Meiryo, sans-serif';

/**
 * @typedef {object} ChartContent
 * @property {Station} station
 * @property {Map<string, Stage>} stages
 * @property {Point[]} points  with empty points at gaps
 * @property {number} from
 * @property {number} to
 * @property {number|null} silentFrom  the data ends here although the range goes on
 */

/** @param {Station} station */
export function isRain(station) {
  return station.unitCode === "MMT";
}

/**
 * @param {HTMLElement} host
 * @param {(point: Point|null) => void} onCursor
 */
export function createChart(host, onCursor) {
  /** @type {any} */
  let plot = null;
  /** @type {ChartContent|null} */
  let content = null;
  let look = "";

  function size() {
    return { width: Math.max(240, host.clientWidth), height: Math.max(160, host.clientHeight) };
  }

  /** Builds the plot anew: needed when colours, language, unit or kind of drawing change. */
  function build() {
    plot?.destroy();
    plot = new uPlot(options(size(), () => /** @type {ChartContent} */ (content), onCursor), [[], []], host);
  }

  new ResizeObserver(() => plot?.setSize(size())).observe(host);
  host.addEventListener("keydown", (event) => stepCursor(plot, event));

  return {
    /** @param {ChartContent} next */
    show(next) {
      content = next;
      const nextLook = [document.documentElement.lang, timeZone(), isRain(next.station), next.station.unitCode].join();
      if (!plot || nextLook !== look) build();
      look = nextLook;
      plot.batch(() => {
        plot.setData([next.points.map(([time]) => time), next.points.map(([, value]) => value)], false);
        plot.setScale("x", { min: next.from, max: next.to });
      });
      plot.redraw(true, true);
    },
    clear() {
      plot?.destroy();
      plot = null;
    },
    /** Draws again with the present colours. */
    restyle() {
      if (content && plot) {
        build();
        this.show(content);
      }
    },
  };
}

/** @param {string} name */
function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/**
 * @param {{ width: number, height: number }} size
 * @param {() => ChartContent} content
 * @param {(point: Point|null) => void} onCursor
 */
function options(size, content, onCursor) {
  const rain = isRain(content().station);
  const line = css("--chart-line");
  const axis = { stroke: css("--muted"), font: FONT, grid: { stroke: css("--chart-grid"), width: 1 }, ticks: { show: false } };
  return {
    ...size,
    padding: [14, 12, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 8, fill: line, stroke: css("--surface") } },
    tzDate: (/** @type {number} */ seconds) => uPlot.tzDate(new Date(seconds * 1000), timeZone()),
    scales: { x: { time: true, auto: false }, y: { range: () => levelRange(content()) } },
    axes: [
      { ...axis, size: 34, space: 64, values: (/** @type {any} */ _plot, /** @type {number[]} */ times) => timeLabels(times) },
      { ...axis, size: 58, label: unitText(content().station.unitCode), labelSize: 16, labelFont: FONT, labelGap: 0,
        values: (/** @type {any} */ _plot, /** @type {number[]} */ values) => levelLabels(values) },
    ],
    series: [
      {},
      rain
        ? { stroke: line, fill: line, width: 0, points: { show: false }, paths: uPlot.paths.bars?.({ size: [0.8, 12, 1] }) }
        : { stroke: line, width: 2, spanGaps: false, points: { size: 5, fill: line } },
    ],
    hooks: {
      drawClear: [(/** @type {any} */ plot) => drawSilence(plot, content())],
      draw: [(/** @type {any} */ plot) => drawThresholds(plot, content())],
      setCursor: [(/** @type {any} */ plot) => {
        const index = plot.cursor.idx;
        onCursor(index === null || index === undefined ? null : (content().points[index] ?? null));
      }],
    },
  };
}

/**
 * Holds all values and all thresholds, so that the officer sees how far the next stage is.
 * @param {ChartContent} content
 * @returns {[number, number]}
 */
function levelRange({ station, points }) {
  const values = points.flatMap(([, value]) => (value === null ? [] : [value]));
  const thresholds = station.thresholds.map((threshold) => threshold.value);
  let low = Infinity;
  let high = -Infinity;
  for (const value of [...values, ...thresholds]) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (isRain(station)) return [0, Math.max(2, high * 1.15)];
  if (low > high) return [0, 1];
  const room = Math.max(0.05, (high - low) * 0.08);
  return [low - room, high + room * 1.4];
}

/** @param {number[]} times */
function timeLabels(times) {
  const daily = times.length > 1 && times[1] - times[0] >= DAY;
  let lastDay = "";
  return times.map((time) => {
    const date = new Date(time * 1000);
    const day = formatDay(date);
    const label = daily ? day : day === lastDay ? formatHourMinute(date) : `${formatHourMinute(date)}\n${day}`;
    lastDay = day;
    return label;
  });
}

/** @param {number[]} values */
function levelLabels(values) {
  const step = values.length > 1 ? values[1] - values[0] : 1;
  const digits = Math.max(0, Math.min(3, Math.ceil(-Math.log10(step) - 1e-9)));
  return values.map((value) => value.toFixed(digits).replace("-", "−"));
}

/**
 * A hatched grey band where data should be and is not.
 * @param {any} plot
 * @param {ChartContent} content
 */
function drawSilence(plot, { silentFrom, to }) {
  if (silentFrom === null || silentFrom >= to) return;
  const { ctx, bbox } = plot;
  const left = Math.max(bbox.left, plot.valToPos(silentFrom, "x", true));
  const right = Math.min(bbox.left + bbox.width, plot.valToPos(to, "x", true));
  if (right - left < 2) return;
  const ratio = uPlot.pxRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, bbox.top, right - left, bbox.height);
  ctx.clip();
  ctx.fillStyle = css("--chart-silent");
  ctx.fillRect(left, bbox.top, right - left, bbox.height);
  ctx.strokeStyle = css("--chart-hatch");
  ctx.lineWidth = ratio;
  for (let x = left - bbox.height; x < right; x += 9 * ratio) {
    ctx.beginPath();
    ctx.moveTo(x, bbox.top + bbox.height);
    ctx.lineTo(x + bbox.height, bbox.top);
    ctx.stroke();
  }
  ctx.restore();
  writeSilence(plot, left, right);
}

/**
 * @param {any} plot
 * @param {number} left
 * @param {number} right
 */
function writeSilence(plot, left, right) {
  const { ctx, bbox } = plot;
  const text = t("chartSilent");
  ctx.save();
  ctx.font = scaled(FONT);
  if (ctx.measureText(text).width + 8 * uPlot.pxRatio < right - left) {
    ctx.fillStyle = css("--ink");
    ctx.textAlign = "center";
    ctx.textBaseline = "bottom";
    ctx.fillText(text, (left + right) / 2, bbox.top + bbox.height - 6 * uPlot.pxRatio);
  }
  ctx.restore();
}

/** The font in canvas pixels. @param {string} font */
function scaled(font) {
  return font.replace("12px", `${12 * uPlot.pxRatio}px`);
}

/**
 * @param {any} plot
 * @param {ChartContent} content
 */
function drawThresholds(plot, { station, stages }) {
  const { ctx, bbox } = plot;
  const ratio = uPlot.pxRatio;
  let lowestFree = Infinity;
  ctx.save();
  ctx.font = scaled(FONT);
  for (const threshold of [...station.thresholds].sort((a, b) => a.value - b.value)) {
    const stage = stageOf(threshold.stage, stages);
    const y = Math.round(plot.valToPos(threshold.value, "y", true));
    // A casing in ink keeps yellow visible on white and black on dark.
    strokeLine(ctx, bbox, y, css("--ink"), 3 * ratio, 0.55);
    strokeLine(ctx, bbox, y, stage.colour, 2 * ratio, 1);
    const height = 17 * ratio;
    if (y - height / 2 < bbox.top - 12 * ratio || lowestFree - y < height + ratio) continue;
    lowestFree = y;
    drawLabel(ctx, stage, formatValue(threshold.value, station.unitCode), bbox, y, height);
  }
  ctx.restore();
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {{ left: number, width: number }} bbox
 * @param {number} y
 * @param {string} colour
 * @param {number} width
 * @param {number} alpha
 */
function strokeLine(ctx, bbox, y, colour, width, alpha) {
  ctx.globalAlpha = alpha;
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.globalAlpha = 1;
}

/**
 * Name and value of a threshold on its colour, at the left end of its line (the newest values are at the right).
 * @param {CanvasRenderingContext2D} ctx
 * @param {Stage} stage
 * @param {string} value
 * @param {{ left: number }} bbox
 * @param {number} y
 * @param {number} height
 */
function drawLabel(ctx, stage, value, bbox, y, height) {
  const ratio = uPlot.pxRatio;
  const text = `${stageName(stage)}  ${value}`;
  const width = ctx.measureText(text).width + 12 * ratio;
  const left = bbox.left + 6 * ratio;
  ctx.fillStyle = stage.colour;
  ctx.strokeStyle = css("--surface");
  ctx.lineWidth = 2 * ratio;
  ctx.beginPath();
  ctx.roundRect(left, y - height / 2, width, height, 3 * ratio);
  ctx.stroke();
  ctx.fill();
  ctx.fillStyle = inkOn(stage.colour);
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.fillText(text, left + 6 * ratio, y + ratio * 0.5);
}

/**
 * The arrow keys read the chart point by point.
 * @param {any} plot
 * @param {KeyboardEvent} event
 */
function stepCursor(plot, event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!plot || !step) return;
  event.preventDefault();
  const times = plot.data[0];
  if (times.length === 0) return;
  const last = times.length - 1;
  const at = plot.cursor.idx ?? (step < 0 ? last + 1 : last);
  const index = Math.min(last, Math.max(0, at + step));
  plot.setCursor({ left: plot.valToPos(times[index], "x"), top: 0 });
}
