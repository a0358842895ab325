// SPDX-License-Identifier: Apache-2.0
// The list of rules: what each watches, and its levels with their names.

import { el } from "../../app/dom.js";
import { formatValue } from "../../app/format.js";
import { t } from "../../app/i18n.js";
import { stageName, stageOf } from "../../app/stages.js";
import { stageSymbol } from "../../app/symbols.js";
import { button, table } from "../forms.js";
import { nameIn } from "../page.js";

/** @param {any} known @param {(id: string) => void} edit */
export function ruleTable(known, edit) {
  const lines = known.rules.map((/** @type {any} */ rule) => [
    el("span", {}, button(nameIn(rule.name), () => edit(rule.id), "plain"), el("div", { class: "soft" }, rule.id), rule.enabled ? null : el("div", { class: "is-wrong" }, t("off"))),
    watched(rule),
    levels(rule, known.stages),
    more(rule),
  ]);
  return table(["name", "watches", "levelsWord", "notes"].map((key) => t(key)), lines, t("none"));
}

/** @param {any} rule */
function watched(rule) {
  const { ids, type, scope } = rule.entities;
  const attribute = String(rule.attribute).split(/[/#]/).pop() ?? "";
  const what = type ? t("allOfType", { type: String(type).split(/[/#]/).pop() ?? "" }) : ids.map((/** @type {string} */ id) => id.replace("urn:ngsi-ld:", "")).join("、");
  return `${what}${scope ? ` ${scope}` : ""}（${attribute}）`;
}

/** Highest first, as a gauge board reads. @param {any} rule @param {Map<string, any>} stages */
export function levels(rule, stages) {
  const items = [...(rule.levels ?? [])].reverse().map((level) => {
    const stage = stageOf(level.stage, stages);
    const at = level.when ? t("condition") : level.threshold === null ? t("noThreshold") : formatValue(level.threshold, rule.unitCode ?? "MTR");
    return el("li", {}, stageSymbol(stage), el("span", {}, stageName(stage)), el("span", { class: "number" }, at));
  });
  return el("ul", { class: "levels" }, ...items);
}

/** @param {any} rule */
function more(rule) {
  const parts = [t("hysteresisNote", { value: rule.hysteresis ?? 0.1 }), t("clearNote", { minutes: (rule.clearAfter ?? 1800) / 60 })];
  if (rule.noData) parts.push(t("noDataNote"));
  const count = Object.keys(rule.overrides ?? {}).length;
  if (count) parts.push(t("overridesNote", { count }));
  return parts.join("、");
}
