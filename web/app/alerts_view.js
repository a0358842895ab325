// SPDX-License-Identifier: Apache-2.0
// The alert panel: open alerts first, worst on top, then what was cleared lately.

import { arrange, byId, el, setText } from "./dom.js";
import { formatDuration, formatTime, formatValue } from "./format.js";
import { t } from "./i18n.js";
import { stageName, stageOf, URGENT_ORDER } from "./stages.js";
import { stageBadge, stageSymbol } from "./symbols.js";

/** @import { Alert, PageState } from "./types.js" */
/** @import { Store } from "./store.js" */

const PARTS = ["alerts", "freshAlerts", "alertsLink", "stages", "lang", "silence", "dataTime"];
const CLEARED_SHOWN = 20;

/**
 * @param {Store} store
 * @param {{ now: () => Date, selectEntity: (entityId: string) => void }} page
 */
export function createAlertsView(store, page) {
  const openList = el("ul", { class: "alert-list" });
  const pastTitle = el("h3", { class: "past-title" });
  const pastList = el("ul", { class: "alert-list is-past" });
  const message = el("p", { class: "empty" });
  byId("alerts").append(message, openList, pastTitle, pastList);
  /** @type {Map<string, { item: HTMLLIElement, button: HTMLButtonElement, look: string }>} */
  const cards = new Map();

  /**
   * @param {Alert} alert
   * @param {PageState} state
   */
  function card(alert, state) {
    let entry = cards.get(alert.id);
    if (!entry) {
      const button = el("button", {
        type: "button",
        class: "alert",
        onclick: () => page.selectEntity(alert.entityId),
      });
      entry = { item: el("li", {}, button), button, look: "" };
      cards.set(alert.id, entry);
    }
    const content = cardContent(alert, state, page.now());
    if (entry.look !== content.look) {
      entry.button.replaceChildren(...content.nodes());
      entry.button.style.setProperty("--stage", stageOf(alert.stage, state.stages).colour);
      entry.look = content.look;
    }
    entry.button.classList.toggle("is-cleared", alert.status === "cleared");
    entry.button.classList.toggle("is-fresh", state.freshAlerts.has(alert.id));
    return entry.item;
  }

  /** @param {PageState} state */
  function render(state) {
    const { open, cleared } = sortAlerts(state);
    arrange(
      openList,
      open.map((alert) => card(alert, state)),
    );
    arrange(
      pastList,
      cleared.map((alert) => card(alert, state)),
    );
    setText(pastTitle, t("alertsPast"));
    pastTitle.hidden = cleared.length === 0;
    setText(byId("alerts-count"), open.length > 0 ? t("alertsOpen", { count: open.length }) : "");
    setText(message, messageFor(state, open.length));
    message.hidden = message.textContent === "";
  }

  store.subscribe((state, changed) => {
    if (PARTS.some((part) => changed.has(part))) render(state);
  });
}

/**
 * @param {PageState} state
 * @param {number} open
 */
function messageFor(state, open) {
  if (state.alertsLink === "lost") return t("alertsUnknown");
  if (state.alertsLink === "loading") return state.link === "lost" ? t("alertsUnknown") : t("loading");
  return open === 0 ? t("alertsNone") : "";
}

/** @param {PageState} state */
function sortAlerts(state) {
  /** @param {Alert} alert */
  const order = (alert) => stageOf(alert.stage, state.stages).order;
  const all = [...state.alerts.values()];
  const open = all
    .filter((alert) => alert.status === "raised")
    .sort((a, b) => order(b) - order(a) || Date.parse(b.raisedAt) - Date.parse(a.raisedAt));
  const cleared = all
    .filter((alert) => alert.status === "cleared")
    .sort((a, b) => Date.parse(b.clearedAt ?? b.raisedAt) - Date.parse(a.clearedAt ?? a.raisedAt));
  return { open, cleared: cleared.slice(0, CLEARED_SHOWN) };
}

/**
 * @param {Alert} alert
 * @param {PageState} state
 * @param {Date} now
 */
function cardContent(alert, state, now) {
  const stage = stageOf(alert.stage, state.stages);
  const unit = unitOf(alert, state);
  const levels = levelsOf(alert, unit);
  const times = timesOf(alert, now);
  const name = stationName(alert, state);
  return {
    look: [
      state.lang,
      stageName(stage),
      stage.colour,
      alert.stationName,
      ...levels,
      ...times,
      alert.status,
    ].join("|"),
    nodes: () => [
      el(
        "span",
        { class: "alert-head" },
        stageSymbol(stage),
        stageBadge(stage),
        el("span", { class: "alert-status" }, statusText(alert)),
      ),
      el("span", { class: "alert-station" }, name),
      el("span", { class: "alert-levels" }, ...levels.map((text) => el("span", {}, text))),
      el("span", { class: "alert-times" }, ...times.map((text) => el("span", {}, text))),
    ],
  };
}

/**
 * Why the alert stands (or stood). The value of a cleared alert is the one that cleared it, so only the peak is told.
 * @param {Alert} alert
 * @param {string} unit
 */
function levelsOf(alert, unit) {
  if (alert.threshold === null) return [formatValue(alert.value, unit)];
  const threshold = formatValue(alert.threshold, unit);
  const raised = alert.status === "raised" ? `${formatValue(alert.value, unit)} ≥ ${threshold}` : "";
  const peak = alert.peakValue === null ? "" : t("alertPeak", { value: formatValue(alert.peakValue, unit) });
  return [raised || t("alertThreshold", { value: threshold }), peak].filter((text) => text !== "");
}

/** @param {Alert} alert */
function statusText(alert) {
  if (alert.status === "raised") return t("alertRaised");
  return t(alert.withdrawn ? "alertWithdrawn" : "alertCleared");
}

/**
 * The name the list uses, so that a person finds the station again.
 * @param {Alert} alert
 * @param {PageState} state
 */
function stationName(alert, state) {
  return state.stations.find((station) => station.entityId === alert.entityId)?.name ?? alert.stationName;
}

/**
 * @param {Alert} alert
 * @param {Date} now
 */
function timesOf(alert, now) {
  const raised = new Date(alert.raisedAt);
  const cleared = alert.clearedAt ? new Date(alert.clearedAt) : null;
  const lasting = ((cleared ?? now).getTime() - raised.getTime()) / 1000;
  return [
    t("alertRaisedAt", { time: formatTime(raised, now) }),
    cleared ? t("alertClearedAt", { time: formatTime(cleared, now) }) : "",
    lasting >= 60 ? t("alertLasting", { duration: formatDuration(lasting) }) : "",
  ].filter((text) => text !== "");
}

/**
 * The unit of the alert, else of the station it is about.
 * @param {Alert} alert
 * @param {PageState} state
 */
function unitOf(alert, state) {
  const station = state.stations.find(
    (candidate) => candidate.entityId === alert.entityId && candidate.thresholds.length > 0,
  );
  return alert.unitCode ?? station?.unitCode ?? "MTR";
}

/**
 * Tells new alerts to screen readers: at once from 氾濫危険水位 up, otherwise when there is a pause.
 * @param {Store} store
 * @param {() => Date} now
 */
export function createAnnouncer(store, now) {
  /** @param {Alert[]} news */
  return (news) => {
    const state = store.get();
    /** @type {{ urgent: string[], calm: string[] }} */
    const said = { urgent: [], calm: [] };
    for (const alert of news) {
      const stage = stageOf(alert.stage, state.stages);
      const urgent = alert.status === "raised" && stage.order >= URGENT_ORDER;
      said[urgent ? "urgent" : "calm"].push(sentence(alert, state, now()));
    }
    if (said.urgent.length > 0) setText(byId("announce-assertive"), said.urgent.join(" "));
    if (said.calm.length > 0) setText(byId("announce-polite"), said.calm.join(" "));
  };
}

/**
 * @param {Alert} alert
 * @param {PageState} state
 * @param {Date} now
 */
function sentence(alert, state, now) {
  const raised = alert.status === "raised";
  const unit = unitOf(alert, state);
  return t(raised ? "announceRaised" : "announceCleared", {
    stage: stageName(stageOf(alert.stage, state.stages)),
    station: stationName(alert, state),
    value: formatValue(alert.value, unit),
    threshold: formatValue(alert.threshold, unit),
    time: formatTime(new Date((raised ? alert.raisedAt : alert.clearedAt) ?? alert.raisedAt), now),
  });
}
