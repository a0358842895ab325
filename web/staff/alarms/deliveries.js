// SPDX-License-Identifier: Apache-2.0
// Who was told about an alarm, by which channel, and what became of it.

import { el } from "../../app/dom.js";
import { formatTime } from "../../app/format.js";
import { t } from "../../app/i18n.js";
import { FAILED } from "./model.js";

/** @import { Delivery } from "./model.js" */

const MARKS = { delivered: "✓", failed: "✕", queued: "…", held: "‖", merged: "✓" };

/** One line for all. @param {Delivery[]} deliveries @param {boolean} hasPlans */
export function deliverySummary(deliveries, hasPlans) {
  if (deliveries.length === 0) return el("span", { class: "is-wrong" }, t(hasPlans ? "toldNobody" : "toldNoPlans"));
  const people = new Map();
  for (const one of deliveries) {
    const best = people.get(one.contactId) ?? false;
    people.set(one.contactId, best || one.state === "delivered" || one.state === "merged");
  }
  const reached = [...people.values()].filter(Boolean).length;
  const failed = deliveries.filter((one) => one.state === FAILED).length;
  const retrying = deliveries.filter(isRetried).length;
  const parts = [t("toldCount", { reached, people: people.size })];
  if (failed) parts.push(`✕ ${t("toldFailed", { count: failed })}`);
  if (retrying) parts.push(`… ${t("toldRetrying", { count: retrying })}`);
  return el("span", { class: failed || retrying ? "is-wrong" : "" }, parts.join(" · "));
}

/**
 * @param {Delivery[]} deliveries @param {Map<string, string>} names  of contacts @param {Date} now
 */
export function deliveryTable(deliveries, names, now) {
  const heads = ["person", "channel", "deliveryState", "time"].map((key) => el("th", { scope: "col" }, t(key)));
  const rows = deliveries.map((one) => {
    const kind = one.state === FAILED || isRetried(one) ? "is-wrong" : one.state === "delivered" ? "is-calm" : "";
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, names.get(one.contactId) ?? one.contactId),
      el("td", {}, t(`channel_${one.channel}`), " ", el("span", { class: "soft" }, one.address)),
      el(
        "td",
        { class: kind },
        el("span", { class: "mark", "aria-hidden": "true" }, MARKS[one.state] ?? "?"),
        stateWords(one, now),
        one.error ? el("div", { class: "soft" }, one.error) : null,
      ),
      el("td", {}, formatTime(new Date(one.at), now)),
    );
  });
  return el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows));
}

/** @param {Delivery} one */
export function isRetried(one) {
  return one.state === "queued" && one.attempts > 0;
}

/** @param {Delivery} one @param {Date} now */
function stateWords(one, now) {
  if (one.state === "held" && one.dueAt) {
    return t(`held_${one.heldFor}`, { time: formatTime(new Date(one.dueAt), now) });
  }
  if (isRetried(one)) return t("deliveryRetrying", { count: one.attempts });
  return t(`delivery_${one.state}`);
}
