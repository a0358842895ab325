// SPDX-License-Identifier: Apache-2.0
// What people have to deal with: open alarms by river, with buttons to acknowledge and to shelve.

import { actionButtons, focusIn } from "./alarm_form.js";
import { arrange, byId, el, setText } from "./dom.js";
import { formatTime } from "./format.js";
import { nameIn, t } from "./i18n.js";
import { stageName, stageOf } from "./stages.js";
import { stageBadge, stageSymbol } from "./symbols.js";

/** @import { Alarm, AlarmAction, Incident, PageState } from "./types.js" */
/** @import { Store } from "./store.js" */

const PARTS = ["incidents", "incidentsLink", "stages", "lang"];

/**
 * @param {Store} store
 * @param {{ now: () => Date, selectEntity: (entityId: string) => void }} page
 * @param {(alarmId: string, action: AlarmAction, body: Record<string, string|number>) => Promise<void>} act
 */
export function createIncidentsView(store, page, act) {
  const message = el("p", { class: "empty", role: "status" });
  const list = el("ul", { class: "incident-list" });
  byId("incidents").append(message, list);
  /** @type {Map<string, { item: HTMLLIElement, look: string }>} */
  const items = new Map();
  const forms = { list: () => byId("incidents"), act, redraw: () => render(store.get()) };

  /** @param {Incident} incident @param {PageState} state */
  function itemOf(incident, state) {
    const entry = items.get(incident.incidentId) ?? { item: el("li", { class: "incident" }), look: "" };
    items.set(incident.incidentId, entry);
    const look = JSON.stringify([state.lang, incident, [...state.stages.keys()]]);
    // What is typed must not be lost when news arrive.
    if (entry.look !== look && !entry.item.querySelector("form")) {
      const focus = focusIn(entry.item);
      const rows = incident.alarms.filter(isOpen).map((alarm) => row(alarm, state));
      entry.item.replaceChildren(heading(incident), el("ul", {}, ...rows));
      if (focus) /** @type {HTMLElement|null} */ (entry.item.querySelector(focus))?.focus();
      entry.look = look;
    }
    return entry.item;
  }

  /** @param {Alarm} alarm @param {PageState} state */
  function row(alarm, state) {
    const stage = stageOf(alarm.stage, state.stages);
    const choose = () => page.selectEntity(alarm.entityId);
    const place = el("button", { type: "button", class: "alarm-place", onclick: choose }, nameIn(alarm.stationName));
    const buttons = el("span", { class: "alarm-buttons" });
    const line = el(
      "li",
      { class: "alarm" },
      el("span", { class: "alarm-head" }, stageSymbol(stage), stageBadge(stage), place),
      el("span", { class: "alarm-state" }, stateText(alarm, page.now())),
      buttons,
    );
    line.style.setProperty("--stage", stage.colour);
    buttons.append(...actionButtons(alarm, `${nameIn(alarm.stationName)} ${stageName(stage)}`, line, forms));
    return line;
  }

  /** @param {PageState} state */
  function render(state) {
    arrange(
      list,
      state.incidents.map((incident) => itemOf(incident, state)),
    );
    for (const id of [...items.keys()]) {
      if (!state.incidents.some((incident) => incident.incidentId === id)) items.delete(id);
    }
    setText(message, state.incidentsLink === "lost" ? t("incidentsUnknown") : "");
    message.hidden = message.textContent === "";
  }

  store.subscribe((state, changed) => {
    if (PARTS.some((part) => changed.has(part))) render(state);
  });
}

/** @param {Incident} incident */
function heading(incident) {
  const count = incident.unacknowledged;
  const waiting = count > 0 ? t("incidentWaiting", { count }) : t("incidentSeen");
  return el("h3", { class: "incident-title" }, nameIn(incident.name), " ", el("small", {}, waiting));
}

/** @param {Alarm} alarm */
function isOpen(alarm) {
  return alarm.status !== "cleared";
}

/** @param {Alarm} alarm @param {Date} now */
function stateText(alarm, now) {
  const parts = [];
  if (alarm.status === "open") parts.push(t("alarmOpen"));
  if (alarm.status === "acknowledged") parts.push(t("alarmAcknowledged", { by: alarm.acknowledgedBy ?? "" }));
  if (alarm.status === "shelved" && alarm.shelvedUntil) {
    const time = formatTime(new Date(alarm.shelvedUntil), now);
    parts.push(t("alarmShelved", { by: alarm.shelvedBy ?? "", time, reason: alarm.shelveReason ?? "" }));
  }
  if (alarm.unknown) parts.push(t("alarmUnknown"));
  if (alarm.unstable) parts.push(t("alarmUnstable"));
  if (alarm.escalation > 0 && alarm.status === "open") parts.push(t("alarmEscalated", { count: alarm.escalation }));
  return parts.join(" · ");
}
