// SPDX-License-Identifier: Apache-2.0
// Parts of forms: labelled fields, and rows that are added and taken away.

import { el } from "../app/dom.js";
import { timeZone } from "../app/format.js";
import { t } from "../app/i18n.js";

/**
 * A label with its control.
 * @param {string} text @param {HTMLElement} control @param {string} [name]  class of the label
 */
export function field(text, control, name) {
  return el("label", name ? { class: name } : {}, el("span", {}, text), control);
}

/** @param {string} text @param {boolean} checked @param {Record<string, any>} [attributes] */
export function check(text, checked, attributes = {}) {
  const box = el("input", { type: "checkbox", ...attributes });
  box.checked = checked;
  return { box, label: el("label", { class: "check" }, box, el("span", {}, text)) };
}

/** @param {[string, string][]} options  value and text @param {string} chosen @param {Record<string, any>} [attributes] */
export function select(options, chosen, attributes = {}) {
  const node = el("select", attributes, ...options.map(([value, text]) => el("option", { value }, text)));
  node.value = chosen;
  return node;
}

/** @param {string} text @param {() => void} work @param {string} [name] */
export function button(text, work, name = "") {
  return el("button", { type: "button", class: name, onclick: work }, text);
}

/**
 * Rows of fields in a frame, with a button for one more.
 * @template T
 * @param {string} legend @param {string} more  text of the button
 * @param {(value: any, remove: HTMLElement) => { node: HTMLElement, read: () => T }} make
 * @param {any[]} values @param {any} blank  what a new row begins with
 */
export function rows(legend, more, make, values, blank) {
  /** @type {{ node: HTMLElement, read: () => T }[]} */
  const shown = [];
  const list = el("div", { class: "lines" });
  const add = (/** @type {any} */ value) => {
    const remove = button(t("remove"), () => {
      shown.splice(shown.indexOf(row), 1);
      row.node.remove();
    });
    const row = make(value, remove);
    shown.push(row);
    list.append(row.node);
    return row;
  };
  values.forEach(add);
  const one = button(more, () => add(blank).node.querySelector("input, select")?.focus());
  return { node: el("fieldset", { class: "sub" }, el("legend", {}, legend), list, one), read: () => shown.map((row) => row.read()) };
}

/** How far the clock of the page (Japan for Japanese) is ahead of UTC. @param {number} time @returns {number} */
function ahead(time) {
  const form = new Intl.DateTimeFormat("en-US", { timeZone: timeZone(), timeZoneName: "longOffset" });
  const text = form.formatToParts(time).find((part) => part.type === "timeZoneName")?.value ?? "GMT";
  const [, sign, hours, minutes] = /([+-])(\d+):?(\d+)?/.exec(text) ?? ["", "+", "0", "0"];
  return (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes ?? 0)) * 60000;
}

/** A time of the hub for a field of the page, by the clock that the page shows. @param {string|null|undefined} text */
export function localTime(text) {
  if (!text) return "";
  const time = new Date(text).getTime();
  return new Date(time + ahead(time)).toISOString().slice(0, 16);
}

/** The reverse; null when nothing is given. @param {string} text  as a field of the browser has it */
export function hubTime(text) {
  if (!text) return null;
  const read = new Date(`${text}Z`).getTime();
  return new Date(read - ahead(read - ahead(read))).toISOString();
}

/**
 * A table with cells in rows; the first of each row heads it.
 * @param {string[]} heads @param {(Node|string|null)[][]} lines @param {string} empty
 * @param {string} [name]  class; cards: each row is a card on a phone
 */
export function table(heads, lines, empty, name = "cards") {
  const head = el("thead", {}, el("tr", {}, ...heads.map((text) => el("th", { scope: "col" }, text))));
  const cells = lines.map(([first, ...others]) =>
    el("tr", {}, el("th", { scope: "row" }, first), ...others.map((cell, at) => el("td", { "data-head": heads[at + 1] }, cell))),
  );
  if (cells.length === 0) cells.push(el("tr", {}, el("td", { colspan: String(heads.length) }, empty)));
  return el("table", { class: name }, head, el("tbody", {}, ...cells));
}

/** Draws anew without taking the focus away. @param {HTMLElement} place @param {() => void} draw */
export function keepFocus(place, draw) {
  const active = document.activeElement;
  const index = active && place.contains(active) ? [...place.querySelectorAll("button")].indexOf(/** @type {any} */ (active)) : -1;
  draw();
  if (index >= 0) place.querySelectorAll("button")[index]?.focus();
}

/** Without what is null, undefined or an empty text. @param {Record<string, any>} document */
export function compact(document) {
  return Object.fromEntries(Object.entries(document).filter(([, value]) => value !== null && value !== undefined && value !== ""));
}
