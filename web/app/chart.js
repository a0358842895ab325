// SPDX-License-Identifier: Apache-2.0
// The hydrograph: level as a line (rain as bars), thresholds as labelled lines, silence as a hatched band. Drawn by
// uPlot on a canvas; the table below the chart says the same in text.

import uPlotModule from "../vendor/uplot-1.6.32/uPlot.esm.js";
import { drawForecasts } from "./chart_forecasts.js";
import { css, drawSilence, drawThresholds, FONT, gutter } from "./chart_marks.js";
import { formatDay, formatHourMinute, timeZone, unitText } from "./format.js";

/** @import { ChartContent } from "./chart_marks.js" */
/** @import { Point, Station } from "./types.js" */

/** @type {any} the vendored build carries no types */
const uPlot = uPlotModule;
const DAY = 86400;

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
    plot = new uPlot(
      options(size(), () => /** @type {ChartContent} */ (content), onCursor),
      [[], []],
      host,
    );
  }

  new ResizeObserver(() => plot?.setSize(size())).observe(host);
  host.addEventListener("keydown", (event) => stepCursor(plot, event));

  return {
    /** @param {ChartContent} next */
    show(next) {
      content = next;
      const nextLook = [
        document.documentElement.lang,
        timeZone(),
        isRain(next.station),
        next.station.unitCode,
      ].join();
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

/**
 * @param {{ width: number, height: number }} size
 * @param {() => ChartContent} content
 * @param {(point: Point|null) => void} onCursor
 */
function options(size, content, onCursor) {
  const rain = isRain(content().station);
  const line = css("--chart-line");
  const axis = {
    stroke: css("--muted"),
    font: FONT,
    grid: { stroke: css("--chart-grid"), width: 1 },
    ticks: { show: false },
  };
  return {
    ...size,
    padding: [14, (/** @type {any} */ plot) => gutter(plot, content()), 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      drag: { x: false, y: false },
      points: { size: 8, fill: line, stroke: css("--surface") },
    },
    tzDate: (/** @type {number} */ seconds) => uPlot.tzDate(new Date(seconds * 1000), timeZone()),
    scales: { x: { time: true, auto: false }, y: { range: () => levelRange(content()) } },
    axes: [
      {
        ...axis,
        size: 38,
        space: 64,
        values: (/** @type {any} */ _plot, /** @type {number[]} */ times) => timeLabels(times),
      },
      {
        ...axis,
        size: 58,
        label: unitText(content().station.unitCode),
        labelSize: 16,
        labelFont: FONT,
        labelGap: 0,
        values: (/** @type {any} */ _plot, /** @type {number[]} */ values) => levelLabels(values),
      },
    ],
    series: [
      {},
      rain
        ? {
            stroke: line,
            fill: line,
            width: 0,
            points: { show: false },
            paths: uPlot.paths.bars?.({ size: [0.8, 12, 1] }),
          }
        : { stroke: line, width: 2, spanGaps: false, points: { size: 5, fill: line, filter: lonelyPoints } },
    ],
    hooks: {
      drawClear: [(/** @type {any} */ plot) => drawSilence(plot, content())],
      draw: [
        (/** @type {any} */ plot) => drawThresholds(plot, content()),
        (/** @type {any} */ plot) => drawForecasts(plot, content()),
      ],
      setCursor: [
        (/** @type {any} */ plot) => {
          const index = plot.cursor.idx;
          onCursor(index === null || index === undefined ? null : (content().points[index] ?? null));
        },
      ],
    },
  };
}

/**
 * Holds all values and all thresholds, so that the officer sees how far the next stage is.
 * @param {ChartContent} content
 * @returns {[number, number]}
 */
function levelRange({ station, points, forecasts, from, to }) {
  const values = points.flatMap(([, value]) => (value === null ? [] : [value]));
  const thresholds = station.thresholds.map((threshold) => threshold.value);
  for (const forecast of forecasts)
    for (const [time, value] of forecast.points) if (time >= from && time <= to) values.push(value);
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

/**
 * A reading between two gaps has no line to be seen by; it gets a dot.
 * @param {any} plot
 * @param {number} series
 * @param {boolean} allShown  the points lie so far apart that each has a dot anyway
 * @returns {number[]|null}  null for all
 */
function lonelyPoints(plot, series, allShown) {
  if (allShown) return null;
  const values = plot.data[series];
  const empty = (/** @type {number} */ index) => values[index] === null || values[index] === undefined;
  /** @type {number[]} */
  const lonely = [];
  for (let index = 0; index < values.length; index += 1) {
    if (!empty(index) && empty(index - 1) && empty(index + 1)) lonely.push(index);
  }
  return lonely;
}

/** @param {number[]} times */
function timeLabels(times) {
  const daily = times.length > 1 && times[1] - times[0] >= DAY;
  let lastDay = "";
  return times.map((time) => {
    const date = new Date(time * 1000);
    const day = formatDay(date);
    const label = daily
      ? day
      : day === lastDay
        ? formatHourMinute(date)
        : `${formatHourMinute(date)}\n${day}`;
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
 * The arrow keys read the chart point by point.
 * @param {any} plot
 * @param {KeyboardEvent} event
 */
function stepCursor(plot, event) {
  const step = event.key === "ArrowLeft" ? -1 : event.key === "ArrowRight" ? 1 : 0;
  if (!plot || !step) return;
  event.preventDefault();
  const times = plot.data[0];
  if (times.length === 0) return;
  const last = times.length - 1;
  const at = plot.cursor.idx ?? (step < 0 ? last + 1 : last);
  const index = Math.min(last, Math.max(0, at + step));
  // A point on the left edge may come out a hair's breadth outside, where uPlot shows no cursor.
  plot.setCursor({ left: Math.max(0, plot.valToPos(times[index], "x")), top: 0 });
}
