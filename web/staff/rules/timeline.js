// SPDX-License-Identifier: Apache-2.0
// What would have happened at a station: the curve with thresholds and steps, and the steps as a table.

import { el } from "../../app/dom.js";
import { formatDayTime, formatValue } from "../../app/format.js";
import { t } from "../../app/i18n.js";
import { stageName, stageOf } from "../../app/stages.js";
import { table } from "../forms.js";
import { nameIn } from "../page.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDE = 800;
const NARROW = 380; // on a phone, so that the words stay readable
const HEIGHT = 220;
const LEFT = 46;
const TOP = 18;
const BOTTOM = 22;

/** @param {any} answer  of the hub @param {Map<string, any>} stages */
export function timelines(answer, stages) {
  const worth = answer.stations.filter((/** @type {any} */ one) => one.readings > 0);
  const told = worth.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + one.steps.length, 0);
  const summary = el("p", {}, t("replaySummary", { stations: worth.length, steps: told }));
  const ordered = [...worth].sort((a, b) => b.steps.length - a.steps.length);
  return [summary, ...ordered.map((one) => station(one, answer, stages))];
}

/** @param {any} one @param {any} span @param {Map<string, any>} stages */
function station(one, span, stages) {
  const name = `${nameIn(one.stationName) || one.entityId}：${nameIn(one.ruleName)}`;
  const lines = one.steps.map((/** @type {any} */ step, /** @type {number} */ index) => [
    `${index + 1}. ${formatDayTime(new Date(step.at))}`,
    t(`step_${step.kind}`),
    stageName(stageOf(step.stage, stages)),
    step.value === null ? "" : formatValue(step.value, one.unitCode),
  ]);
  return el(
    "section",
    { class: "station-replay", "aria-label": name },
    el("h3", {}, name, " ", el("span", { class: "soft" }, t("replayReadings", { count: one.readings }))),
    plot(one, span, stages, name),
    table(["time", "what", "stage", "value"].map((key) => t(key)), lines, t("replayNothing"), "steps-table"),
  );
}

/** @param {any} one @param {any} span @param {Map<string, any>} stages @param {string} name */
function plot(one, span, stages, name) {
  const width = window.innerWidth < 720 ? NARROW : WIDE;
  const svg = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, class: "plot", role: "img", "aria-label": t("plotLabel", { name }) });
  const [from, to] = [new Date(span.from).getTime(), new Date(span.to).getTime()];
  const values = one.curve.filter((/** @type {number|null} */ value) => value !== null);
  const levels = one.levels.filter((/** @type {any} */ level) => level.threshold !== null && level.threshold !== undefined);
  const near = levels.filter((/** @type {any} */ level) => level.threshold <= Math.max(...values) * 1.5 + 0.5);
  const all = [...values, ...near.map((/** @type {any} */ level) => level.threshold)];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const room = Math.max(high - low, 0.1);
  const x = (/** @type {number} */ time) => LEFT + ((time - from) / (to - from)) * (width - LEFT - 6);
  const y = (/** @type {number} */ value) => HEIGHT - BOTTOM - ((value - low) / room) * (HEIGHT - TOP - BOTTOM);
  for (const value of [low, (low + high) / 2, high]) svg.append(words(LEFT - 6, y(value) + 4, value.toFixed(2), { "text-anchor": "end" }));
  svg.append(shape("path", { class: "axis", d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${width - 6}` }));
  for (const part of width === WIDE ? [0, 0.25, 0.5, 0.75, 1] : [0, 0.5, 1]) {
    const time = from + (to - from) * part;
    const anchor = part === 0 ? "start" : part === 1 ? "end" : "middle";
    svg.append(words(x(time), HEIGHT - 6, formatDayTime(new Date(time)), { "text-anchor": anchor }));
  }
  for (const level of near) {
    const stage = stageOf(level.stage, stages);
    svg.append(shape("path", { class: "threshold", d: `M${LEFT} ${y(level.threshold)}H${width - 6}`, stroke: stage.colour }));
    svg.append(words(LEFT + 4, y(level.threshold) - 3, `${stageName(stage)} ${level.threshold}`, { class: "halo" }));
  }
  svg.append(shape("path", { class: "curve", d: curve(one.curve, x, y, from, to) }));
  one.steps.forEach((/** @type {any} */ step, /** @type {number} */ index) => {
    const at = x(new Date(step.at).getTime());
    svg.append(shape("path", { class: "step", d: `M${at} ${TOP}V${HEIGHT - BOTTOM}` }));
    svg.append(words(at, TOP - 5, String(index + 1), { "text-anchor": "middle", class: "halo" }));
  });
  return svg;
}

/** The curve, broken where nothing was measured for three of its parts. */
function curve(/** @type {(number|null)[]} */ values, /** @type {any} */ x, /** @type {any} */ y, /** @type {number} */ from, /** @type {number} */ to) {
  const width = (to - from) / values.length;
  let path = "";
  let gap = Infinity;
  values.forEach((value, index) => {
    if (value === null) gap += 1;
    else {
      path += `${gap > 3 ? "M" : "L"}${x(from + (index + 0.5) * width).toFixed(1)} ${y(value).toFixed(1)}`;
      gap = 0;
    }
  });
  return path;
}

/** @param {string} tag @param {Record<string, any>} attributes */
function shape(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  return node;
}

/** @param {number} x @param {number} y @param {string} text @param {Record<string, any>} attributes */
function words(x, y, text, attributes) {
  const node = shape("text", { x, y, ...attributes });
  node.textContent = text;
  return node;
}
