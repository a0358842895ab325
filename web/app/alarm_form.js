// SPDX-License-Identifier: Apache-2.0
// What people can do about an alarm, and the form that asks who does it and why.

import { el, setText } from "./dom.js";
import { t } from "./i18n.js";

/** @import { Alarm, AlarmAction } from "./types.js" */

const PERSON = "minamo.person"; // where the browser remembers who acts
const MINUTES = [30, 60, 180, 720];

/** @param {Alarm} alarm @returns {AlarmAction[]} */
export function actionsOf(alarm) {
  if (alarm.status === "shelved") return ["unshelve"];
  return alarm.status === "acknowledged" ? ["shelve"] : ["acknowledge", "shelve"];
}

/**
 * A form that asks who acts and why, in place of the buttons.
 * @param {AlarmAction} action
 */
export function formFor(action) {
  const person = el("input", { type: "text", maxlength: 100, autocomplete: "name", value: remembered() });
  const reason = el("input", { type: "text", maxlength: 1000, required: action === "shelve" });
  const options = MINUTES.map((count) => el("option", { value: count }, t("alarmMinutes", { count })));
  const minutes = el("select", {}, ...options);
  const problem = el("p", { class: "alarm-problem", role: "alert" });
  const why = t(action === "shelve" ? "alarmReason" : "alarmNote");
  const fields = [el("label", {}, t("alarmPerson"), person), el("label", {}, why, reason)];
  if (action === "shelve") fields.push(el("label", {}, t("alarmUntil"), minutes));
  const form = el(
    "form",
    { class: "alarm-form", novalidate: true },
    ...fields,
    el(
      "span",
      { class: "alarm-buttons" },
      el("button", { type: "submit" }, t(`alarm_${action}`)),
      el("button", { type: "button", "data-cancel": true }, t("alarmCancel")),
    ),
    problem,
  );
  return {
    form,
    first: person.value ? reason : person,
    complain: (/** @type {string} */ text) => setText(problem, text),
    read() {
      const said = reason.value.trim();
      if (action === "shelve" && !said) {
        setText(problem, t("alarmReasonNeeded"));
        reason.focus();
        return null;
      }
      remember(person.value.trim());
      /** @type {Record<string, string|number>} */
      const body = {};
      if (person.value.trim()) body.by = person.value.trim();
      if (said) body[action === "acknowledge" ? "note" : "reason"] = said;
      if (action === "shelve") body.seconds = Number(minutes.value) * 60;
      return body;
    },
  };
}

export function remembered() {
  try {
    return localStorage.getItem(PERSON) ?? "";
  } catch {
    return "";
  }
}

/** @param {string} name */
export function remember(name) {
  try {
    localStorage.setItem(PERSON, name);
  } catch {
    // the name is asked for again next time
  }
}
