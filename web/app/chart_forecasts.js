// SPDX-License-Identifier: Apache-2.0
// What models say of times to come, on the hydrograph: broken lines with their model's name, each broken in its own way,
// an expired one in dots; and the present, where measuring ends.

import uPlotModule from "../vendor/uplot-1.6.32/uPlot.esm.js";
import { css, scaled } from "./chart_marks.js";
import { t } from "./i18n.js";

/** @import { ChartContent, DrawnForecast } from "./chart_marks.js" */

/** @type {any} the vendored build carries no types */
const uPlot = uPlotModule;
const DASHES = [
  [10, 6],
  [4, 4],
  [14, 4, 3, 4],
  [7, 3, 2, 3, 2, 3],
];
const DOTS = [2, 6];

/** How a line is broken: lengths of strokes and gaps in pixels. @param {number} place  among the lines @param {boolean} expired */
export function dashOf(place, expired) {
  return expired ? DOTS : DASHES[place % DASHES.length];
}

/**
 * @param {any} plot
 * @param {ChartContent} content
 */
export function drawForecasts(plot, { forecasts, measuredTo, to }) {
  if (forecasts.length === 0) return;
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  if (to > measuredTo) drawPresent(plot, measuredTo);
  forecasts.forEach((forecast, place) => drawLine(plot, forecast, dashOf(place, forecast.expired)));
  ctx.setLineDash([]);
  /** @type {number[]} */
  const taken = [];
  for (const forecast of forecasts) writeName(plot, forecast, to, taken);
  ctx.restore();
}

/** @param {any} plot @param {number} present  seconds */
function drawPresent(plot, present) {
  const { ctx, bbox } = plot;
  const ratio = uPlot.pxRatio;
  const x = Math.round(plot.valToPos(present, "x", true));
  ctx.strokeStyle = css("--muted");
  ctx.lineWidth = ratio;
  ctx.setLineDash([]);
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.font = scaled();
  ctx.fillStyle = css("--ink");
  ctx.textAlign = "right";
  ctx.textBaseline = "bottom";
  ctx.fillText(t("chartPresent"), x - 4 * ratio, bbox.top + bbox.height - 4 * ratio);
}

/** @param {any} plot @param {DrawnForecast} forecast @param {number[]} dash */
function drawLine(plot, { points, expired }, dash) {
  const { ctx } = plot;
  const ratio = uPlot.pxRatio;
  ctx.strokeStyle = css(expired ? "--muted" : "--chart-forecast");
  ctx.lineWidth = 2 * ratio;
  ctx.setLineDash(dash.map((length) => length * ratio));
  ctx.beginPath();
  points.forEach(([time, value], index) => {
    const place = [plot.valToPos(time, "x", true), plot.valToPos(value, "y", true)];
    if (index === 0) ctx.moveTo(place[0], place[1]);
    else ctx.lineTo(place[0], place[1]);
  });
  ctx.stroke();
}

/**
 * The name at the last place of the line that is seen, above names written before.
 * @param {any} plot @param {DrawnForecast} forecast @param {number} to  seconds @param {number[]} taken  heights of names
 */
function writeName(plot, forecast, to, taken) {
  const { ctx, bbox } = plot;
  const ratio = uPlot.pxRatio;
  const seen = forecast.points.filter(([time]) => time <= to && plot.valToPos(time, "x", true) > bbox.left);
  const end = seen[seen.length - 1];
  if (!end) return;
  ctx.font = scaled();
  const height = 16 * ratio;
  const width = ctx.measureText(forecast.name).width + 8 * ratio;
  const right = Math.min(bbox.left + bbox.width - 2 * ratio, Math.max(bbox.left + width, plot.valToPos(end[0], "x", true)));
  let y = Math.max(bbox.top + height, plot.valToPos(end[1], "y", true) - height);
  while (taken.some((other) => Math.abs(other - y) < height)) y += height;
  taken.push(y);
  ctx.globalAlpha = 0.85;
  ctx.fillStyle = css("--surface");
  ctx.fillRect(right - width, y - height / 2, width, height);
  ctx.globalAlpha = 1;
  ctx.fillStyle = css("--ink");
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  ctx.fillText(forecast.name, right - 4 * ratio, y);
}
