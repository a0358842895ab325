// SPDX-License-Identifier: Apache-2.0
// What state a station is in, and how it is called, coloured and drawn. Pure, apart from the language.

import { language, t } from "./i18n.js";

/** @import { Station, Stage, StationState } from "./types.js" */

/** The customary colour of a station without data. */
export const SILENT_COLOUR = "#AAAAAA";
/** Alerts from this order (氾濫危険水位) up interrupt a screen reader. */
export const URGENT_ORDER = 4;
// A station whose answer we lost is overdue after this many of its intervals.
const OVERDUE_INTERVALS = 2.5;
// A road that seems to be under water stands beside 避難判断水位.
const FLOOD_SIGN = 29;

/** @param {Station} station */
export function keyOf(station) {
  return `${station.entityId}|${station.attribute}`;
}

/**
 * A stage the hub did not describe (a newer hub, an older page) still has to look serious.
 * @param {string} code
 * @param {Map<string, Stage>} stages
 * @returns {Stage}
 */
export function stageOf(code, stages) {
  return (
    stages.get(code) ?? {
      code,
      order: URGENT_ORDER,
      nameJa: code,
      nameEn: code,
      colour: "#AD02AD",
      shape: "square",
    }
  );
}

/** @param {Stage} stage */
export function stageName(stage) {
  const name = language() === "ja" ? stage.nameJa : stage.nameEn;
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/**
 * Silence is never calm: a late or missing station keeps the severity of its last stage, just below a live one, and
 * without a stage it still stands above every normal station.
 * @param {Station} station
 * @param {Map<string, Stage>} stages
 * @param {number} silence  seconds since the hub last answered
 * @returns {StationState}
 */
export function stateOf(station, stages, silence = 0) {
  const stage = station.stage === null ? null : stageOf(station.stage, stages);
  const severity = stage ? stage.order * 10 : 0;
  if (station.floodSign) return { kind: "flooded", stage, severity: Math.max(severity - 1, FLOOD_SIGN) };
  if (station.status === "missing" || station.value === null) {
    return { kind: "missing", stage, severity: stage ? severity - 1 : 6 };
  }
  if (station.status === "late" || isOverdue(station, silence)) {
    return { kind: "late", stage, severity: stage ? severity - 2 : 5 };
  }
  if (stage) return { kind: "stage", stage, severity };
  if (station.thresholds.length === 0) return { kind: "noThresholds", stage: null, severity: 0 };
  return { kind: "normal", stage: null, severity: 1 };
}

/**
 * @param {Station} station
 * @param {number} silence
 */
function isOverdue(station, silence) {
  if (silence === 0 || station.ageSeconds === null || station.expectedIntervalSeconds === null) return false;
  return station.ageSeconds + silence > OVERDUE_INTERVALS * station.expectedIntervalSeconds;
}

/** @param {StationState} state */
export function isSilent(state) {
  return state.kind === "late" || state.kind === "missing" || state.kind === "flooded";
}

/** @param {StationState} state */
export function stateName(state) {
  switch (state.kind) {
    case "stage":
      return state.stage ? stageName(state.stage) : "";
    case "normal":
      return t("stateNormal");
    case "noThresholds":
      return t("stateNoThresholds");
    case "late":
      return t("stateLate");
    case "flooded":
      return t("stateFlooded");
    default:
      return t("stateMissing");
  }
}

/**
 * The state in words, with the last stage of a silent station.
 * @param {StationState} state
 */
export function stateSentence(state) {
  const last =
    isSilent(state) && state.stage ? ` (${t("lastStage", { stage: stageName(state.stage) })})` : "";
  return stateName(state) + last;
}

/**
 * The next threshold above a value, or null at the top.
 * @param {Station} station
 */
export function nextThreshold(station) {
  const value = station.value;
  if (value === null) return null;
  const above = station.thresholds.filter((threshold) => threshold.value > value);
  return above.sort((a, b) => a.value - b.value)[0] ?? null;
}

/**
 * Black or white, whichever reads better on the colour (WCAG relative luminance).
 * @param {string} colour  #RRGGBB
 */
export function inkOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) ? "#000000" : "#FFFFFF";
}
