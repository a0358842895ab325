// SPDX-License-Identifier: Apache-2.0
// The list of devices: state in a sign and in words, last seen, battery.

import { arrange, byId, el, setAttribute, setText } from "../app/dom.js";
import { formatFull } from "../app/format.js";
import { t } from "../app/i18n.js";

const MARKS = { ok: "●", late: "▲", silent: "■", dead: "✕", maintenance: "◆", neverSeen: "○", retired: "–" };
const WRONG = new Set(["late", "silent", "dead"]);

/** @param {string|null} text */
export function timeText(text) {
  if (!text) return t("never");
  return formatFull(new Date(text));
}

/** @param {number|null|undefined} level  0 to 1 */
export function batteryText(level) {
  return typeof level === "number" ? `${Math.round(level * 100)} %` : t("unknown");
}

/** @param {any} device */
export function stateOf(device) {
  const { state } = device.status;
  const mark = el("span", { class: "mark", "aria-hidden": "true" }, MARKS[state] ?? "?");
  const kind = state === "ok" ? "is-calm" : WRONG.has(state) ? "is-wrong" : "";
  return el("span", { class: kind, "data-state": state }, mark, t(`state_${state}`));
}

/**
 * @param {{devices: any[], next: string|null, chosen: string|null}} shown
 * @param {(id: string) => void} onChoose
 */
export function showList({ devices, next, chosen }, onChoose) {
  setText(byId("count"), t(next ? "countMore" : "count", { n: devices.length }));
  byId("more").hidden = !next;
  const rows = devices.map((device) => row(device, device.id === chosen, onChoose));
  if (rows.length === 0) rows.push(el("tr", {}, el("td", { colspan: "6" }, t("none"))));
  const focused = document.activeElement?.getAttribute("data-device");
  arrange(byId("devices"), rows);
  if (focused) byId("devices").querySelector(`[data-device="${CSS.escape(focused)}"]`)?.focus();
}

/** @param {any} device @param {boolean} isChosen @param {(id: string) => void} onChoose */
function row(device, isChosen, onChoose) {
  const choose = el("button", { type: "button", class: "plain", "data-device": device.id }, device.id);
  choose.addEventListener("click", () => onChoose(device.id));
  const name = device.name === device.id ? null : el("div", {}, device.name);
  const line = el(
    "tr",
    {},
    el("th", { scope: "row" }, choose, name),
    el("td", {}, stateOf(device)),
    el("td", { "data-head": t("lastSeen") }, timeText(device.status.lastSeenAt)),
    el("td", { class: "number", "data-head": t("battery") }, batteryText(device.status.batteryLevel)),
    el("td", { "data-head": t("station") }, device.entityId),
    el("td", { "data-head": t("model") }, device.model ?? t("noModel")),
  );
  setAttribute(line, "aria-current", isChosen ? "true" : null);
  return line;
}
