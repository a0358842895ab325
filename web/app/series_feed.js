// SPDX-License-Identifier: Apache-2.0
// Keeps the points of the hydrograph current without asking for the whole period each time.

import { fetchSeries } from "./hub.js";
import { mergePoints, RANGES } from "./series.js";
import { keyOf } from "./stages.js";

/** @import { Point, Station } from "./types.js" */

const FULL_RELOAD = 60; // seconds; between them only the newest points are asked for, so late ones need a full answer

/**
 * Holds the points of the selected station and range, and asks only for what is new.
 * @param {() => Date} now
 */
export function createSeriesFeed(now) {
  /** @type {Point[]} */
  let points = [];
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
      const last = points[points.length - 1]?.[0];
      const from = full || last === undefined ? period.from : last;
      try {
        if (full) fullAt = performance.now() / 1000;
        const received = await fetchSeries(station.entityId, station.attribute, from, period.to + 1);
        if (wanted !== key) return false;
        points = full ? received : mergePoints(points, received, period.from);
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

/** @typedef {ReturnType<typeof createSeriesFeed>} SeriesFeed */
