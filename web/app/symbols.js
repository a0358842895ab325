// SPDX-License-Identifier: Apache-2.0
// The symbols that stand beside each state text: shape and fill tell the stage, a dashed grey one has no data.

import { inkOn, isSilent, SILENT_COLOUR, stageName, stateName } from "./stages.js";
import { el } from "./dom.js";
import { t } from "./i18n.js";

/** @import { Stage, StationState } from "./types.js" */

const SVG = "http://www.w3.org/2000/svg";
/** @type {Record<string, string>} */
const PATHS = {
  circle: "M10 2.5a7.5 7.5 0 1 1 0 15a7.5 7.5 0 1 1 0-15z",
  diamond: "M10 1.5L18.5 10L10 18.5L1.5 10z",
  triangle: "M10 2L18.5 17.5H1.5z",
  square: "M2.8 2.8H17.2V17.2H2.8z",
  cross: "M6 2L10 6L14 2L18 6L14 10L18 14L14 18L10 14L6 18L2 14L6 10L2 6z",
  ring: "M10 4a6 6 0 1 1 0 12a6 6 0 1 1 0-12z",
  dot: "M10 6.5a3.5 3.5 0 1 1 0 7a3.5 3.5 0 1 1 0-7z",
};

/**
 * @param {string} shape
 * @param {string|null} fill  null for the colour of the paper
 * @param {boolean} dashed
 */
function draw(shape, fill, dashed) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", dashed ? "symbol is-dashed" : "symbol");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[shape] ?? PATHS.square);
  if (fill) path.setAttribute("fill", fill);
  else path.setAttribute("class", "is-paper");
  svg.append(path);
  return svg;
}

/** @param {Stage} stage */
export function stageSymbol(stage) {
  return draw(stage.shape, stage.colour, false);
}

/** @param {StationState} state */
export function stateSymbol(state) {
  if (isSilent(state)) return draw(state.stage?.shape ?? "circle", SILENT_COLOUR, true);
  if (state.stage) return stageSymbol(state.stage);
  return draw(state.kind === "normal" ? "ring" : "dot", null, false);
}

/** @param {Stage} stage */
export function stageBadge(stage) {
  const badge = el("span", { class: "badge is-stage" }, stageName(stage));
  badge.style.setProperty("--stage", stage.colour);
  badge.style.setProperty("--stage-ink", inkOn(stage.colour));
  return badge;
}

/**
 * The text of a state on its colour.
 * @param {StationState} state
 */
export function stateBadge(state) {
  if (state.kind === "stage" && state.stage) return stageBadge(state.stage);
  return el("span", { class: isSilent(state) ? "badge is-silent" : "badge" }, stateName(state));
}

/**
 * Which stage a silent station was last seen in, or null.
 * @param {StationState} state
 * @param {string} className
 */
export function lastStageNote(state, className) {
  if (!isSilent(state) || !state.stage) return null;
  return el("span", { class: className }, t("lastStage", { stage: stageName(state.stage) }));
}
