// SPDX-License-Identifier: Apache-2.0
// What the hydrograph shows besides its line: thresholds with their names, and the time without data.

import uPlotModule from "../vendor/uplot-1.6.32/uPlot.esm.js";
import { formatValue } from "./format.js";
import { t } from "./i18n.js";
import { inkOn, stageName, stageOf } from "./stages.js";

/** @import { Point, Stage, Station } from "./types.js" */

/**
 * @typedef {object} DrawnForecast
 * @property {string} name
 * @property {boolean} expired
 * @property {[number, number][]} points
 */

/** @type {any} the vendored build carries no types */
const uPlot = uPlotModule;
export const FONT =
  '12px system-ui, "Hiragino Sans", "Noto Sans JP", "Noto Sans CJK JP", "Yu Gothic UI", Meiryo, sans-serif';
const GUTTER_FROM = 620; // pixels of width; from here up threshold labels stand beside the plot, not on it

/**
 * @typedef {object} ChartContent
 * @property {Station} station
 * @property {Map<string, Stage>} stages
 * @property {Point[]} points  with empty points at gaps
 * @property {number} from
 * @property {number} to
 * @property {number} measuredTo  the present, where measuring ends; `to` is behind it where something is forecast
 * @property {DrawnForecast[]} forecasts
 * @property {number|null} silentFrom  the data ends here although the range goes on
 */

/** A colour of the theme (css/base.css). @param {string} name */
export function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/**
 * Text of a threshold's label.
 * @param {ChartContent} content
 * @param {{ stage: string, value: number }} threshold
 */
function labelText({ station, stages }, threshold) {
  return `${stageName(stageOf(threshold.stage, stages))}  ${formatValue(threshold.value, station.unitCode)}`;
}

/**
 * Room right of the plot for the labels of the thresholds, so that they hide no data; a narrow chart has none to spare.
 * @param {any} plot
 * @param {ChartContent} content
 */
export function gutter(plot, content) {
  if (plot.width < GUTTER_FROM || content.station.thresholds.length === 0) return 12;
  plot.ctx.save();
  plot.ctx.font = scaled();
  const widths = content.station.thresholds.map(
    (threshold) => plot.ctx.measureText(labelText(content, threshold)).width,
  );
  plot.ctx.restore();
  return Math.ceil(Math.max(...widths) / uPlot.pxRatio) + 26;
}

/**
 * A hatched grey band where data should be and is not.
 * @param {any} plot
 * @param {ChartContent} content
 */
export function drawSilence(plot, { silentFrom, measuredTo }) {
  if (silentFrom === null || silentFrom >= measuredTo) return;
  const { ctx, bbox } = plot;
  const left = Math.max(bbox.left, plot.valToPos(silentFrom, "x", true));
  const right = Math.min(bbox.left + bbox.width, plot.valToPos(measuredTo, "x", true));
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
  ctx.font = scaled();
  if (ctx.measureText(text).width + 8 * uPlot.pxRatio < right - left) {
    ctx.fillStyle = css("--ink");
    ctx.textAlign = "center";
    ctx.textBaseline = "bottom";
    ctx.fillText(text, (left + right) / 2, bbox.top + bbox.height - 6 * uPlot.pxRatio);
  }
  ctx.restore();
}

/** The font in canvas pixels. */
export function scaled() {
  return FONT.replace("12px", `${12 * uPlot.pxRatio}px`);
}

/**
 * @param {any} plot
 * @param {ChartContent} content
 */
export function drawThresholds(plot, content) {
  const { ctx, bbox } = plot;
  const ratio = uPlot.pxRatio;
  let lowestFree = Infinity;
  ctx.save();
  ctx.font = scaled();
  for (const threshold of [...content.station.thresholds].sort((a, b) => a.value - b.value)) {
    const stage = stageOf(threshold.stage, content.stages);
    const y = Math.round(plot.valToPos(threshold.value, "y", true));
    // A casing in ink keeps yellow visible on white and black on dark.
    strokeLine(ctx, bbox, y, css("--ink"), 3 * ratio, 0.55);
    strokeLine(ctx, bbox, y, stage.colour, 2 * ratio, 1);
    const height = 17 * ratio;
    if (y - height / 2 < bbox.top - 12 * ratio || lowestFree - y < height + ratio) continue;
    lowestFree = y;
    const left = plot.width < GUTTER_FROM ? bbox.left + 6 * ratio : bbox.left + bbox.width + 4 * ratio;
    drawLabel(ctx, stage, labelText(content, threshold), left, y, height);
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
 * Name and value of a threshold on its colour: beside its line, or on the left end of it, since the newest values are
 * at the right.
 * @param {CanvasRenderingContext2D} ctx
 * @param {Stage} stage
 * @param {string} text
 * @param {number} left
 * @param {number} y
 * @param {number} height
 */
function drawLabel(ctx, stage, text, left, y, height) {
  const ratio = uPlot.pxRatio;
  const width = ctx.measureText(text).width + 12 * ratio;
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
