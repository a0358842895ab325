// SPDX-License-Identifier: Apache-2.0
// What people can do about an alarm, and the form that asks who does it and why.

import { el, setText } from "./dom.js";
import { t } from "./i18n.js";

/** @import { Alarm, AlarmAction } from "./types.js" */

const PERSON = "minamo.person"; // where the browser remembers who acts
const MINUTES = [30, 60, 180, 720];

/** @param {Alarm} alarm @returns {AlarmAction[]} */
function actionsOf(alarm) {
  if (alarm.status === "shelved") return ["unshelve"];
  return alarm.status === "acknowledged" ? ["shelve"] : ["acknowledge", "shelve"];
}

/**
 * The buttons for what can be done about an alarm; each opens a form in `line`, which is left by Enter or Escape.
 * @param {Alarm} alarm
 * @param {string} what  where and what it is, for screen readers
 * @param {HTMLElement} line
 * @param {{ list: () => Element, act: (alarmId: string, action: AlarmAction, body: any) => Promise<void>,
 *   redraw: () => void }} page  `list` holds the lines; `redraw` brings them up to date when the form is gone
 */
export function actionButtons(alarm, what, line, page) {
  return actionsOf(alarm).map((action) => {
    const look = { type: "button", class: action === "acknowledge" ? "primary" : "", "aria-label": `${t(`alarm_${action}`)}: ${what}` };
    const button = el("button", look, t(`alarm_${action}`));
    button.dataset.action = action;
    button.dataset.alarm = alarm.alarmId;
    button.addEventListener("click", () => openForm(line, alarm, action, page));
    return button;
  });
}

/** @param {HTMLElement} line @param {Alarm} alarm @param {AlarmAction} action @param {Parameters<typeof actionButtons>[3]} page */
function openForm(line, alarm, action, page) {
  line.querySelector("form")?.remove();
  const { form, first, read, complain } = formFor(action);
  const close = () => {
    form.remove();
    page.redraw();
    const button = `[data-alarm="${CSS.escape(alarm.alarmId)}"]`;
    const drawn = page.list();
    const next = drawn.querySelector(`${button}[data-action="${action}"]`) ?? drawn.querySelector(button);
    /** @type {HTMLElement|null} */ (next)?.focus();
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = read();
    if (!body) return;
    try {
      await page.act(alarm.alarmId, action, body);
      close();
    } catch (error) {
      complain(error instanceof Error ? error.message : String(error));
    }
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  form.querySelector("[data-cancel]")?.addEventListener("click", close);
  line.append(form);
  first.focus();
}

/** Where the focus is, to find it again after a redraw. @param {Element} node @returns {string} a selector, or nothing */
export function focusIn(node) {
  const active = document.activeElement;
  if (!(active instanceof HTMLElement) || !node.contains(active)) return "";
  if (active.dataset.alarm) return `[data-alarm="${CSS.escape(active.dataset.alarm)}"][data-action="${active.dataset.action}"]`;
  return active.dataset.details ? `[data-details="${CSS.escape(active.dataset.details)}"]` : "";
}

/**
 * A form that asks who acts and why, in place of the buttons.
 * @param {AlarmAction} action
 */
function formFor(action) {
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
