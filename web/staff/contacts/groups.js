// SPDX-License-Identifier: Apache-2.0
// Groups with their shifts, and plans that say which groups are called about which alarms, one after the other.

import { el } from "../../app/dom.js";
import { formatDayTime } from "../../app/format.js";
import { t } from "../../app/i18n.js";
import { stageName } from "../../app/stages.js";
import { button, check, compact, field, hubTime, localTime, rows, select, table } from "../forms.js";
import { chainOf, isOn, isOutOfReach } from "./model.js";
import { idField } from "./people.js";

/** @param {any} known @param {(id: string) => void} edit */
export function groupTable(known, edit) {
  const lines = known.groups.map((/** @type {any} */ group) => [
    el("span", {}, button(group.name, () => edit(group.id), "plain"), el("div", { class: "soft" }, group.id)),
    el("ul", {}, ...(group.members ?? []).map((/** @type {any} */ member) => memberLine(member, known))),
  ]);
  return table([t("name"), t("members")], lines, t("none"));
}

/** @param {any} member @param {any} known */
function memberLine(member, known) {
  const name = known.contactById.get(member.contact)?.name ?? member.contact;
  const at = (/** @type {string} */ text) => formatDayTime(new Date(text));
  const shift = member.from || member.until ? `（${member.from ? at(member.from) : ""}～${member.until ? at(member.until) : ""}）` : "";
  const isNow = isOn(member, known.now);
  return el("li", { class: isNow ? "" : "soft" }, `${isNow ? "●" : "○"} ${name}${shift}${isNow ? "" : ` ${t("notNow")}`}`);
}

/** @param {any} group @param {any} known */
export function groupForm(group, known) {
  const id = idField(group);
  const name = el("input", { required: true, maxlength: 200, value: group?.name ?? "", autocomplete: "off" });
  const people = known.contacts.map((/** @type {any} */ one) => [one.id, one.name]);
  const memberRow = (/** @type {any} */ member, /** @type {HTMLElement} */ remove) => {
    const contact = select(people, member.contact ?? people[0]?.[0] ?? "");
    const from = el("input", { type: "datetime-local", value: localTime(member.from) });
    const until = el("input", { type: "datetime-local", value: localTime(member.until) });
    const node = el("div", { class: "line even" }, field(t("person"), contact, "wide"), field(t("shiftFrom"), from), field(t("shiftUntil"), until), remove);
    return { node, read: () => compact({ contact: contact.value, from: hubTime(from.value), until: hubTime(until.value) }) };
  };
  const members = rows(t("members"), t("moreMember"), memberRow, group?.members ?? [], {});
  return {
    nodes: [field(t("id"), id), field(t("name"), name), members.node, el("p", { class: "hint" }, t("shiftHint"))],
    read: () => ({ id: id.value.trim(), document: { name: name.value.trim(), members: members.read() } }),
  };
}

/** @param {any} known @param {(id: string) => void} edit */
export function planTable(known, edit) {
  const names = (/** @type {string[]} */ ids) => ids.map((id) => known.groupById.get(id)?.name ?? id).join("、");
  const lines = known.plans.map((/** @type {any} */ plan) => [
    el("span", {}, button(plan.name, () => edit(plan.id), "plain"), el("div", { class: "soft" }, plan.id)),
    whichWords(plan, known) + (plan.enabled === false ? ` ${t("off")}` : ""),
    plan.steps.map((/** @type {string[]} */ ids, /** @type {number} */ index) => `${index + 1}. ${names(ids)}`).join(" → "),
  ]);
  return table([t("name"), t("whichAlarms"), t("order")], lines, t("none"));
}

/** @param {any} plan @param {any} known */
export function whichWords(plan, known) {
  const which = plan.alarms ?? {};
  const parts = [];
  if (which.rivers?.length) parts.push(which.rivers.join("、"));
  if (which.rules?.length) parts.push(t("someRules", { count: which.rules.length }));
  if (which.entities?.length) parts.push(t("someStations", { count: which.entities.length }));
  if (which.minimumStage) parts.push(t("fromStage", { stage: stageName(known.stageByCode.get(which.minimumStage)) }));
  return parts.join("・") || t("allAlarms");
}

/** @param {any} plan @param {any} known */
export function planForm(plan, known) {
  const id = idField(plan);
  const name = el("input", { required: true, maxlength: 200, value: plan?.name ?? "", autocomplete: "off" });
  const stages = known.stages.filter((/** @type {any} */ stage) => stage.code !== "no_data");
  const options = stages.map((/** @type {any} */ stage) => [stage.code, t("fromStage", { stage: stageName(stage) })]);
  const minimum = select([["", t("allStages")], ...options], plan?.alarms?.minimumStage ?? "");
  const lists = ["rivers", "rules", "entities"].map((key) => {
    const input = el("input", { value: (plan?.alarms?.[key] ?? []).join(", "), autocomplete: "off" });
    return { key, input, label: field(t(`only_${key}`), input) };
  });
  const enabled = check(t("enabled"), plan?.enabled !== false);
  const stepRow = (/** @type {string[]} */ chosen, /** @type {HTMLElement} */ remove) => {
    const boxes = known.groups.map((/** @type {any} */ group) => ({ id: group.id, ...check(group.name, chosen.includes(group.id)) }));
    const node = el("div", { class: "line" }, el("div", { class: "checks wide" }, ...boxes.map((/** @type {any} */ one) => one.label)), remove);
    return { node, read: () => boxes.filter((/** @type {any} */ one) => one.box.checked).map((/** @type {any} */ one) => one.id) };
  };
  const steps = rows(t("planSteps"), t("moreStep"), stepRow, plan?.steps ?? [[]], []);
  return {
    nodes: [field(t("id"), id), field(t("name"), name), field(t("stage"), minimum), ...lists.map((one) => one.label), steps.node, el("p", { class: "hint" }, t("planHint")), enabled.label],
    read: () => {
      const given = lists.map(({ key, input }) => [key, input.value.split(",").map((one) => one.trim()).filter(Boolean)]);
      const alarms = Object.fromEntries(given.filter(([, values]) => values.length));
      if (minimum.value) alarms.minimumStage = minimum.value;
      const document = { name: name.value.trim(), alarms, steps: steps.read().filter((step) => step.length), enabled: enabled.box.checked };
      return { id: id.value.trim(), document };
    },
  };
}

/** Who is called now about each plan's alarms. @param {any} known */
export function whoIsCalled(known) {
  const plans = known.plans.filter((/** @type {any} */ plan) => plan.enabled !== false);
  if (plans.length === 0) return [el("p", { class: "is-wrong" }, `✕ ${t("missingNoPlans")}`)];
  return plans.flatMap((/** @type {any} */ plan) => {
    const steps = chainOf(plan, known.groupById, known.contactById, known.now).map((step, index) => {
      const people = step.people.map((one) => {
        const isLost = isOutOfReach(one, known.browsers.get(one.id) ?? []);
        return el("span", { class: isLost ? "is-wrong" : "who" }, isLost ? `✕ ${one.name}（${t("channel_none")}）` : one.name);
      });
      const nobody = people.length ? people : [el("span", { class: "is-wrong" }, `✕ ${t("nobodyOnDuty")}`)];
      const when = index === 0 ? t("atOnce") : t("ifNobody", { n: index });
      return el("li", {}, el("span", { class: "when" }, when), ...nobody, el("span", { class: "soft" }, step.groups.map((group) => group.name).join("、")));
    });
    return [el("h3", { class: "plan-name" }, plan.name, " ", el("span", { class: "soft" }, whichWords(plan, known))), el("ol", { class: "chain" }, ...steps)];
  });
}
