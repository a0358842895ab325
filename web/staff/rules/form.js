// SPDX-License-Identifier: Apache-2.0
// The form of a rule: levels by name, times in minutes, what is different at single stations. What the form does not
// show (conditions, silence rules, datums) is kept as it is and can be written as JSON.

import { el } from "../../app/dom.js";
import { t } from "../../app/i18n.js";
import { stageName } from "../../app/stages.js";
import { button, check, compact, field, rows, select } from "../forms.js";

const SHOWN = new Set(["id", "name", "enabled", "entities", "attribute", "levels", "hysteresis", "clearAfter", "confirmation", "escalateAfter", "silentAfter", "unitCode", "overrides"]);
const NUMBER = { inputmode: "decimal", pattern: "-?[0-9]+(\\.[0-9]+)?", autocomplete: "off" };

/**
 * @param {any} rule  or null for a new one
 * @param {any[]} stages
 */
export function ruleForm(rule, stages) {
  const given = rule ?? { name: {}, enabled: true, entities: { type: "WaterObserved" }, attribute: "waterLevel", levels: [], unitCode: "MTR" };
  const text = (/** @type {any} */ value, more = {}) => el("input", { value: value ?? "", autocomplete: "off", ...more });
  const id = text(rule?.id, { required: true, readonly: Boolean(rule), pattern: "[A-Za-z0-9._\\-]{1,100}", spellcheck: "false" });
  const ja = text(given.name.ja);
  const en = text(given.name.en);
  const type = text(given.entities.type, { spellcheck: "false" });
  const ids = el("textarea", { rows: 2, spellcheck: "false" }, (given.entities.ids ?? []).join("\n"));
  const attribute = text(given.attribute, { required: true, readonly: Boolean(rule), spellcheck: "false" });
  const hysteresis = text(given.hysteresis ?? 0.1, NUMBER);
  const clear = text((given.clearAfter ?? 1800) / 60, NUMBER);
  const count = text(given.confirmation?.count, { ...NUMBER, pattern: "[0-9]*" });
  const seconds = text(given.confirmation?.seconds === undefined ? "" : given.confirmation.seconds / 60, NUMBER);
  const escalate = text((given.escalateAfter ?? [600, 1800]).map((/** @type {number} */ one) => one / 60).join(", "));
  const silent = text(given.silentAfter === null ? "" : (given.silentAfter ?? 3600) / 60, NUMBER);
  const enabled = check(t("enabled"), given.enabled !== false);
  const names = stages.filter((stage) => stage.code !== "no_data").map((stage) => [stage.code, stageName(stage)]);
  const levels = rows(t("levelsTitle"), t("moreLevel"), (level, remove) => levelRow(level, remove, /** @type {any} */ (names)), given.levels ?? [], { stage: "caution", threshold: "" });
  const overrides = rows(t("overridesTitle"), t("moreOverride"), (one, remove) => overrideRow(one, remove, given.levels ?? [], stages), Object.entries(given.overrides ?? {}), ["", {}]);
  const others = Object.fromEntries(Object.entries(given).filter(([key]) => !SHOWN.has(key)));
  const json = el("textarea", { rows: 6, spellcheck: "false" }, Object.keys(others).length ? JSON.stringify(others, null, 1) : "");

  return {
    nodes: [
      field(t("id"), id),
      el("div", { class: "pair" }, field(t("nameJa"), ja), field(t("nameEn"), en)),
      field(t("entityType"), type),
      field(t("entityIds"), ids),
      field(t("attributeWord"), attribute),
      levels.node,
      el("p", { class: "hint" }, t("levelsHint")),
      el("div", { class: "pair" }, field(t("hysteresis"), hysteresis), field(t("clearAfter"), clear)),
      el("div", { class: "pair" }, field(t("confirmCount"), count), field(t("confirmMinutes"), seconds)),
      el("div", { class: "pair" }, field(t("escalateAfter"), escalate), field(t("silentAfter"), silent)),
      overrides.node,
      el("details", {}, el("summary", {}, t("otherMembers")), field(t("otherMembersHint"), json)),
      enabled.label,
    ],
    read: () => {
      const list = ids.value.split("\n").map((one) => one.trim()).filter(Boolean);
      const entities = { ...given.entities, ids: list, type: type.value.trim() };
      if (list.length) delete entities.type;
      else delete entities.ids;
      const confirmation = compact({ count: number(count), seconds: minutes(seconds) });
      const document = {
        ...(json.value.trim() ? JSON.parse(json.value) : {}),
        name: compact({ ja: ja.value.trim(), en: en.value.trim() }),
        enabled: enabled.box.checked,
        entities,
        attribute: attribute.value.trim(),
        unitCode: given.unitCode ?? "MTR",
        levels: levels.read(),
        hysteresis: number(hysteresis),
        clearAfter: minutes(clear),
        escalateAfter: escalate.value.split(",").map((one) => one.trim()).filter(Boolean).map((one) => Number(one) * 60),
        silentAfter: minutes(silent) ?? null,
        overrides: Object.fromEntries(overrides.read()),
      };
      if (Object.keys(confirmation).length) document.confirmation = confirmation;
      if (document.levels.length === 0) delete document.levels;
      if (Object.keys(document.overrides).length === 0) delete document.overrides;
      return { id: id.value.trim(), document };
    },
  };
}

/** @param {HTMLInputElement} input */
function number(input) {
  return input.value.trim() === "" ? undefined : Number(input.value);
}

/** Minutes of a person as seconds of the hub. @param {HTMLInputElement} input */
function minutes(input) {
  const value = number(input);
  return value === undefined ? undefined : Math.round(value * 60);
}

/** @param {any} level @param {HTMLElement} remove @param {[string, string][]} names */
function levelRow(level, remove, names) {
  const stage = select(names, level.stage);
  if (level.when) {
    const when = el("textarea", { rows: 5, spellcheck: "false" }, JSON.stringify(level.when, null, 1));
    const node = el("div", { class: "line level" }, field(t("stage"), stage), el("span", {}, t("condition")), remove, field(t("conditionJson"), when, "wide"));
    return { node, read: () => ({ ...level, stage: stage.value, when: JSON.parse(when.value) }) };
  }
  const threshold = el("input", { ...NUMBER, value: level.threshold ?? "", placeholder: t("noThreshold") });
  const node = el("div", { class: "line level" }, field(t("stage"), stage), field(t("thresholdM"), threshold), remove);
  return { node, read: () => ({ ...level, stage: stage.value, threshold: number(threshold) ?? null }) };
}

/**
 * What is different at one station: its own thresholds, or that the rule does not hold there.
 * @param {[string, any]} entry @param {HTMLElement} remove @param {any[]} base @param {any[]} stages
 */
function overrideRow([entityId, override], remove, base, stages) {
  const id = el("input", { value: entityId, required: true, spellcheck: "false", autocomplete: "off" });
  const off = check(t("notHere"), override.enabled === false);
  const plain = [...(override.levels ?? base)].filter((level) => !level.when);
  const own = new Map((override.levels ?? []).map((/** @type {any} */ level) => [level.stage, level]));
  const inputs = plain.map((level) => {
    const stage = stages.find((one) => one.code === level.stage);
    const input = el("input", { ...NUMBER, value: own.has(level.stage) ? (level.threshold ?? "") : "", placeholder: override.levels ? t("noThreshold") : String(level.threshold ?? "") });
    return { level, input, label: field(stage ? stageName(stage) : level.stage, input) };
  });
  const node = el("div", { class: "line" }, field(t("stationId"), id, "wide"), off.label, el("span", {}), remove, el("div", { class: "thresholds" }, ...inputs.map((one) => one.label)));
  return {
    node,
    read: () => {
      const document = { ...override };
      delete document.enabled;
      if (off.box.checked) document.enabled = false;
      if (inputs.some(({ input }) => input.value.trim() !== "")) {
        const kept = (override.levels ?? base).filter((/** @type {any} */ level) => level.when);
        const given = inputs.map(({ level, input }) => ({ ...level, threshold: number(input) ?? (override.levels ? null : level.threshold) }));
        document.levels = [...given, ...kept];
      } else delete document.levels;
      return [id.value.trim(), document];
    },
  };
}
