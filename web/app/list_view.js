// SPDX-License-Identifier: Apache-2.0
// The list of stations: the text equal of the map. Each row is a button; the arrow keys walk through the rows.

import { arrange, byId, el, setAttribute, setText } from "./dom.js";
import { formatAge, formatTime, formatValue } from "./format.js";
import { t } from "./i18n.js";
import { qualityText } from "./quality.js";
import { isSilent, keyOf, stateOf, stateSentence } from "./stages.js";
import { lastStageNote, stateBadge, stateSymbol } from "./symbols.js";

/** @import { PageState, Station, StationState } from "./types.js" */
/** @import { Store } from "./store.js" */

const PARTS = [
  "stations",
  "stages",
  "silence",
  "filter",
  "kind",
  "sort",
  "selected",
  "lang",
  "link",
  "loaded",
];

/**
 * @param {Store} store
 * @param {{ now: () => Date, select: (key: string) => void }} page
 */
export function createListView(store, page) {
  const list = byId("station-list");
  /** @type {Map<string, { item: HTMLLIElement, button: HTMLButtonElement, look: string }>} */
  const rows = new Map();

  /** @param {string} key */
  function rowFor(key) {
    let row = rows.get(key);
    if (!row) {
      const button = el("button", { type: "button", class: "row", onclick: () => page.select(key) });
      row = { item: el("li", {}, button), button, look: "" };
      rows.set(key, row);
    }
    return row;
  }

  /** @param {PageState} state */
  function render(state) {
    const shown = arrangeStations(state);
    const items = shown.map(({ station, look }) => {
      const key = keyOf(station);
      const row = rowFor(key);
      const content = rowContent(station, look, state, page.now());
      if (row.look !== content.look) {
        row.button.replaceChildren(...content.nodes());
        row.button.className = `row ${isSilent(look) ? "is-silent" : ""}`;
        row.look = content.look;
      }
      setAttribute(row.button, "aria-current", key === state.selected ? "true" : null);
      return row.item;
    });
    arrange(list, items.length > 0 ? items : [el("li", { class: "empty" }, emptyText(state))]);
    keepOneTabStop(list, items.length > 0);
    const slots = { shown: shown.length, total: state.stations.length };
    setText(byId("stations-count"), state.loaded ? t("stationsCount", slots) : "");
  }

  list.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => moveFocus(list, event));
  store.subscribe((state, changed) => {
    if (PARTS.some((part) => changed.has(part))) render(state);
  });
  connectTools(store);
}

/**
 * Stations that pass the filters, in the wished order.
 * @param {PageState} state
 * @returns {{ station: Station, look: StationState }[]}
 */
export function arrangeStations(state) {
  const wanted = state.filter.trim().toLocaleLowerCase();
  const byName = new Intl.Collator(state.lang, { numeric: true });
  return state.stations
    .map((station) => ({ station, look: stateOf(station, state.stages, state.silence) }))
    .filter(({ station }) => station.name.toLocaleLowerCase().includes(wanted))
    .filter(({ look }) => state.kind === null || kindOf(look) === state.kind)
    .sort((a, b) => {
      const severity = state.sort === "severity" ? b.look.severity - a.look.severity : 0;
      return severity || byName.compare(a.station.name, b.station.name);
    });
}

/**
 * The group a station counts in: a stage code, or what it is instead.
 * @param {StationState} look
 */
export function kindOf(look) {
  if (isSilent(look)) return "silent";
  return look.kind === "stage" && look.stage ? look.stage.code : look.kind;
}

/**
 * @param {Station} station
 * @param {StationState} look
 * @param {PageState} state
 * @param {Date} now
 */
function rowContent(station, look, state, now) {
  const silent = isSilent(look);
  const value = formatValue(station.value, station.unitCode);
  const age = station.ageSeconds === null ? null : station.ageSeconds + state.silence;
  const time = station.observedAt ? formatTime(new Date(station.observedAt), now) : "";
  const when = station.observedAt ? `${formatAge(age)} · ${time}` : t("never");
  const doubt = qualityText(station);
  return {
    look: [state.lang, station.name, stateSentence(look), look.stage?.code, value, when, doubt].join("|"),
    nodes: () => [
      el("span", { class: "row-symbol" }, stateSymbol(look)),
      el("span", { class: "row-name" }, station.name),
      el("span", { class: "row-value" }, silent && el("small", {}, `${t("lastValue")} `), value),
      el(
        "span",
        { class: "row-more" },
        el("span", {}, stateBadge(look)),
        lastStageNote(look, "row-last"),
        doubt !== "" && el("span", { class: "row-doubt" }, doubt),
        el("span", { class: "row-age" }, when),
      ),
    ],
  };
}

/** @param {PageState} state */
function emptyText(state) {
  if (!state.loaded) return t("loading");
  return state.stations.length === 0 ? t("stationsEmpty") : t("stationsNone");
}

/**
 * One stop for the Tab key in the whole list: the row last focused, else the first.
 * @param {HTMLElement} list
 * @param {boolean} filled
 */
function keepOneTabStop(list, filled) {
  if (!filled) return;
  const buttons = [...list.querySelectorAll("button")];
  const stop =
    buttons.find((button) => button === document.activeElement) ??
    buttons.find((button) => button.getAttribute("aria-current")) ??
    buttons[0];
  for (const button of buttons) button.tabIndex = button === stop ? 0 : -1;
}

/**
 * @param {HTMLElement} list
 * @param {KeyboardEvent} event
 */
function moveFocus(list, event) {
  const buttons = [...list.querySelectorAll("button")];
  const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
  /** @type {Record<string, number>} */
  const targets = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 };
  const target = buttons[targets[event.key]];
  if (!target) return;
  event.preventDefault();
  target.focus();
  keepOneTabStop(list, true);
}

/** @param {Store} store */
function connectTools(store) {
  const filter = byId("filter");
  filter.addEventListener("input", () => store.set({ filter: filter.value }));
  filter.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape") {
      filter.value = "";
      store.set({ filter: "" });
    }
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement;
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    filter.focus();
  });
  for (const button of document.querySelectorAll("button[data-sort]")) {
    button.addEventListener("click", () => {
      store.set({ sort: button.getAttribute("data-sort") === "name" ? "name" : "severity" });
    });
  }
  store.subscribe(({ sort }) => {
    for (const button of document.querySelectorAll("button[data-sort]")) {
      setAttribute(button, "aria-pressed", String(button.getAttribute("data-sort") === sort));
    }
  });
}
