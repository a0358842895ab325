// SPDX-License-Identifier: Apache-2.0
// What is said of the quality of a station's newest value, in words. A good value says nothing.

import { t } from "./i18n.js";

/** @import { Station } from "./types.js" */

/** @type {Record<string, string>} */
const WORDS = {
  suspect: "qualitySuspect",
  missing: "qualityMissing",
  estimated: "qualityEstimated",
  maintenance: "qualityMaintenance",
};

/** @type {Record<string, string>} */
const REASONS = {
  gross: "reasonGross",
  range: "reasonRange",
  spike: "reasonSpike",
  rate: "reasonRate",
  stuck: "reasonStuck",
  clock: "reasonClock",
};

/**
 * Empty when the value is good, or nothing is said of it.
 * @param {Station} station
 */
export function qualityText(station) {
  const word = station.quality ? WORDS[station.quality] : undefined;
  if (!word) return "";
  // A person may have given a reason in words of their own.
  const reasons = (station.qualityReasons ?? []).map((reason) => (REASONS[reason] ? t(REASONS[reason]) : reason));
  return reasons.length > 0 ? `${t(word)} (${reasons.join(", ")})` : t(word);
}
