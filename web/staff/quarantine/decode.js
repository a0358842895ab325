// SPDX-License-Identifier: Apache-2.0
// What a message would become, and the bytes it is made of.

import { el } from "../../app/dom.js";
import { formatFull } from "../../app/format.js";
import { t } from "../../app/i18n.js";

/** @param {string|null} text */
export function timeText(text) {
  if (!text) return "–";
  return formatFull(new Date(text));
}

/** The reason in words, with its code. @param {string} reason */
export function reasonText(reason) {
  const words = t(`reason_${reason}`);
  return words === `reason_${reason}` ? reason : `${words} (${reason})`;
}

/** @param {any} found  the hub's answer about a frame */
export function decodeView(found) {
  const parts = [];
  if (found.fault) {
    const mark = el("span", { class: "fault-mark" }, `✕ ${reasonText(found.fault.reason)}`);
    const cure = el("span", { class: "cure" }, `\n→ ${t(`cure_${found.fault.reason}`)}`);
    parts.push(el("p", { class: "fault" }, mark, `\n${found.fault.detail}`, cure));
  } else {
    parts.push(el("p", { class: "good" }, `✓ ${t("decodeGood")}`));
  }
  if (found.stored.length > 0) {
    const rows = found.stored.map((entry) => [
      entry.field,
      entry.attribute.split(/[/#]/).pop(),
      `${typeof entry.value === "object" ? JSON.stringify(entry.value) : entry.value} ${entry.unitCode ?? ""}`.trim(),
      timeText(entry.observedAt),
    ]);
    parts.push(el("h3", {}, t("decodeStored")), table(["field", "attribute", "value", "observedAt"], rows));
  } else parts.push(el("p", {}, t("decodeNothing")));
  if (found.missing.length > 0) {
    const rows = found.missing.map((entry) => [entry.field, entry.reason]);
    parts.push(el("h3", {}, t("decodeMissing")), table(["field", "reason"], rows));
  }
  const said = found.measurements.flatMap((one) => Object.entries(one.values));
  if (said.length > 0) {
    const rows = said.map(([name, value]) => [name, JSON.stringify(value)]);
    parts.push(el("details", {}, el("summary", {}, t("decodeSays")), table(["field", "value"], rows)));
  }
  return parts;
}

/** @param {string[]} names  keys of texts @param {string[][]} rows */
export function table(names, rows) {
  const head = el("thead", {}, el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, t(name)))));
  const cells = rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell))));
  return el("div", { class: "scroll" }, el("table", {}, head, el("tbody", {}, ...cells)));
}

/** Sixteen bytes a line, with their text beside them. @param {string} base64 */
export function hexDump(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const lines = [];
  for (let begin = 0; begin < bytes.length; begin += 16) {
    const part = [...bytes.slice(begin, begin + 16)];
    const hex = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = part.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${begin.toString(16).padStart(6, "0")}  ${hex.padEnd(47)}  ${text}`);
  }
  return lines.join("\n");
}
