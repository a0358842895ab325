// SPDX-License-Identifier: Apache-2.0
// Arithmetic on the points of a hydrograph: merging answers, breaking the line at gaps, changes over an hour. Pure.
// Times are seconds since 1970.

/** @import { Point } from "./types.js" */

/** A step longer than this many expected intervals is a gap, and a gap is shown as one. */
export const GAP_INTERVALS = 2.5;

/**
 * Length of each range of the hydrograph, in seconds.
 * @type {Record<string, number>}
 */
export const RANGES = {
  "1h": 3600,
  "6h": 21600,
  "24h": 86400,
  "7d": 604800,
  "30d": 2592000,
  "1y": 31536000,
};

/**
 * Whether a range has more readings than a chart has pixels, so that the hub chooses the points and marks the gaps.
 * @param {string} range
 */
export function isOverview(range) {
  return (RANGES[range] ?? 0) > RANGES["24h"];
}

/**
 * Points of both, by time; where both have one the newer answer wins (a correction).
 * @param {Point[]} known
 * @param {Point[]} received
 * @param {number} from  earlier points are dropped
 * @returns {Point[]}
 */
export function mergePoints(known, received, from) {
  const first = received[0]?.[0];
  if (known.length === 0 || first === undefined || first > known[known.length - 1][0]) {
    return [...known, ...received].filter(([time]) => time >= from);
  }
  const byTime = new Map([...known, ...received]);
  return [...byTime].filter(([time]) => time >= from).sort((a, b) => a[0] - b[0]);
}

/**
 * The interval to judge gaps by: the expected one, else the usual step of the points themselves.
 * @param {Point[]} points
 * @param {number|null} expected
 */
export function usualStep(points, expected) {
  if (expected !== null) return expected;
  const steps = points
    .slice(1)
    .map(([time], index) => time - points[index][0])
    .sort((a, b) => a - b);
  return steps.length > 0 ? steps[Math.floor(steps.length / 2)] : null;
}

/**
 * Puts an empty point into every gap so that the line breaks there.
 * @param {Point[]} points
 * @param {number|null} expected  expected interval
 * @returns {Point[]}
 */
export function withGaps(points, expected) {
  const step = usualStep(points, expected);
  if (step === null) return points;
  /** @type {Point[]} */
  const broken = [];
  points.forEach((point, index) => {
    const previous = points[index - 1];
    if (previous && point[0] - previous[0] > GAP_INTERVALS * step) broken.push([previous[0] + step, null]);
    broken.push(point);
  });
  return broken;
}

/**
 * Change of the value over the last `span` seconds before the newest point, or null when there is no point near the
 * beginning of the span to compare with.
 * @param {Point[]} points
 * @param {number} span
 * @param {number} tolerance  how far from the beginning of the span a point may lie
 */
export function changeOver(points, span, tolerance) {
  const last = points[points.length - 1];
  if (!last || last[1] === null) return null;
  const start = last[0] - span;
  let nearest = null;
  for (const point of points) {
    const distance = Math.abs(point[0] - start);
    if (point[1] !== null && distance <= tolerance && (!nearest || distance < nearest.distance)) {
      nearest = { distance, value: point[1] };
    }
  }
  return nearest && last[1] - nearest.value;
}
