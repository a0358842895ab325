// SPDX-License-Identifier: Apache-2.0
// Keeps the points of the hydrograph current without asking for the whole period each time.

import { isRain } from "./chart.js";
import { fetchOverview, fetchSeries } from "./hub.js";
import { isOverview, mergePoints, RANGES } from "./series.js";
import { keyOf } from "./stages.js";

/** @import { Point, Station } from "./types.js" */

const RECENT = 21600; // seconds of readings that are known one by one, however long the range
const FULL_RELOAD = 60; // seconds; between them only the newest points are asked for, so late ones need a full answer

/**
 * Holds the points of the selected station and range, and asks only for what is new. Of a long range the hub chooses
 * the points; the newest readings are then asked for beside them. Rain is added up, so all of it is needed.
 * @param {() => Date} now
 * @param {() => number} width  of the chart in pixels
 */
export function createSeriesFeed(now, width) {
  /** @type {Point[]} */
  let points = [];
  /** @type {Point[]} */
  let recent = [];
  let chosen = false;
  let wanted = "";
  let answered = "";
  let failed = false;
  let asking = ""; // one question at a time, or a slow hub would be asked more and more
  let seen = "";
  let fullAt = 0;
  let period = { from: 0, to: 0, anchored: false };

  /** @param {Station} station @param {string} range */
  function place(station, range) {
    const length = RANGES[range] ?? RANGES["24h"];
    const present = now().getTime() / 1000;
    const last = station.observedAt ? Date.parse(station.observedAt) / 1000 : present;
    // A station silent for longer than the range would show an empty chart: end it at its last observation instead,
    // and say so.
    const anchored = present - last > length;
    const to = anchored ? last : Math.max(present, last);
    return { from: to - length, to, anchored };
  }

  return {
    points: () => (answered === wanted ? points : []),
    /** The newest readings, one by one. */
    recent: () => (answered === wanted ? (chosen ? recent : points) : []),
    /** Whether the hub chose the points and marked the gaps. */
    isChosen: () => chosen,
    period: () => period,
    failed: () => failed,
    loading: () => answered !== wanted && !failed,
    /**
     * @param {Station} station
     * @param {string} range
     * @returns {Promise<boolean>} whether there is something new to draw
     */
    async refresh(station, range) {
      const key = `${keyOf(station)} ${range}`;
      const other = key !== wanted;
      wanted = key;
      period = place(station, range);
      const due = performance.now() / 1000 - fullAt > FULL_RELOAD;
      const full = other || due || failed || answered !== wanted;
      if (asking === key || (!full && seen === station.observedAt)) return false;
      asking = key;
      seen = station.observedAt ?? "";
      const overview = isOverview(range) && !isRain(station);
      const begin = overview ? Math.max(period.from, period.to - RECENT) : period.from;
      const known = overview ? recent : points;
      const last = known[known.length - 1]?.[0];
      const from = full || last === undefined ? begin : last;
      try {
        if (full) fullAt = performance.now() / 1000;
        const place = /** @type {const} */ ([station.entityId, station.attribute]);
        const [received, seenFromAfar] = await Promise.all([
          fetchSeries(...place, from, period.to + 1),
          full && overview ? fetchOverview(...place, period.from, period.to + 1, pointsFor(width())) : [],
        ]);
        if (wanted !== key) return false;
        if (overview) {
          recent = full ? received : mergePoints(recent, received, begin);
          points = full ? seenFromAfar : mergePoints(points, received, period.from);
        } else {
          points = full ? received : mergePoints(points, received, period.from);
        }
        chosen = overview;
        answered = key;
        failed = false;
      } catch {
        if (wanted !== key) return false;
        failed = true;
      } finally {
        if (asking === key) asking = "";
      }
      return true;
    },
  };
}

/**
 * The lowest and the highest for each pixel.
 * @param {number} width
 */
function pointsFor(width) {
  return Math.min(4000, Math.max(400, 2 * Math.round(width)));
}

/** @typedef {ReturnType<typeof createSeriesFeed>} SeriesFeed */
