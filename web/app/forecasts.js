// SPDX-License-Identifier: Apache-2.0
// What models say of the selected station's times to come: asked for beside its hydrograph, in its unit, and judged by
// the hub's clock. A run that has expired stays known as one that has. Nothing here draws.

import { fetchForecasts } from "./hub.js";
import { keyOf } from "./stages.js";

/** @import { Forecast, Point, Station } from "./types.js" */

const RELOAD = 30; // seconds; models deliver every ten minutes

/** Metres of each unit that a level or a sum of rain may be in. @type {Record<string, number>} */
const METRES = { MTR: 1, CMT: 0.01, MMT: 0.001 };

/**
 * The newest run of each model for the selected station.
 */
export function createForecastFeed() {
  /** @type {Forecast[]} */
  let found = [];
  let wanted = "";
  let answered = "";
  let failed = false;
  let askedAt = -Infinity;

  return {
    /** What holds comes before what has expired. @param {Date} now @returns {Forecast[]} */
    all: (now) =>
      answered === wanted ? found.toSorted((a, b) => Number(isExpired(a, now)) - Number(isExpired(b, now))) : [],
    failed: () => failed,
    /**
     * @param {Station} station
     * @returns {Promise<boolean>} whether there may be something new to draw
     */
    async refresh(station) {
      const key = keyOf(station);
      const moment = performance.now() / 1000;
      if (key === wanted && moment - askedAt < RELOAD) return false;
      wanted = key;
      askedAt = moment;
      try {
        const answer = await fetchForecasts(station.entityId, station.attribute);
        if (wanted !== key) return false;
        found = answer.flatMap((line) => readForecast(line, station.unitCode)).sort(modelsFirst);
        answered = key;
        failed = false;
      } catch {
        if (wanted !== key) return false;
        failed = true;
      }
      return true;
    },
  };
}

/**
 * A line of the hub's answer in the unit of the station; nothing when it cannot be turned into that.
 * @param {any} line
 * @param {string} unit
 * @returns {Forecast[]}
 */
function readForecast(line, unit) {
  const own = line.unitCode ?? unit;
  const factor = own === unit ? 1 : METRES[own] / METRES[unit];
  if (!Number.isFinite(factor)) return [];
  return [
    {
      model: line.model,
      version: line.version,
      isBaseline: line.isBaseline,
      issuedAt: Date.parse(line.issuedAt),
      expiresAt: Date.parse(line.expiresAt),
      points: line.validAt.map((/** @type {string} */ at, /** @type {number} */ n) => [Date.parse(at) / 1000, line.values[n] * factor]),
    },
  ];
}

/** The hub's own extrapolation comes behind what models say. @param {Forecast} a @param {Forecast} b */
function modelsFirst(a, b) {
  return Number(a.isBaseline) - Number(b.isBaseline) || a.model.localeCompare(b.model);
}

/** @param {Forecast} forecast @param {Date} now */
export function isExpired(forecast, now) {
  return forecast.expiresAt <= now.getTime();
}

/**
 * What is drawn of it: an expired run says nothing from its end on.
 * @param {Forecast} forecast @param {Date} now
 */
export function pointsShown(forecast, now) {
  return isExpired(forecast, now)
    ? forecast.points.filter(([time]) => time * 1000 <= forecast.expiresAt)
    : forecast.points;
}

/**
 * The highest that is still to come; null when all of it is past.
 * @param {Forecast} forecast
 * @param {Date} now
 * @returns {Point|null}
 */
export function peakToCome({ points }, now) {
  const coming = points.filter(([time]) => time * 1000 >= now.getTime());
  return coming.reduce((/** @type {Point|null} */ best, one) => (best && Number(best[1]) >= Number(one[1]) ? best : one), null);
}

/**
 * Until when the chart goes on behind the present, so that what is forecast has room; half as long as the past at most.
 * @param {Forecast[]} forecasts
 * @param {{ from: number, to: number, anchored: boolean }} period  of what was measured, seconds
 * @param {Date} now
 */
export function horizon(forecasts, { from, to, anchored }, now) {
  if (anchored) return to;
  const current = forecasts.filter((one) => !isExpired(one, now));
  const last = Math.max(to, ...current.map(({ points }) => points[points.length - 1]?.[0] ?? to));
  return Math.min(last, to + (to - from) / 2);
}
