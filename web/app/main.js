// SPDX-License-Identifier: Apache-2.0
// Puts the page together: one store, two feeds that fill it, views that show it. Nothing here decides what is shown.

import { createAlertsFeed } from "./alerts_feed.js";
import { createAlertsView, createAnnouncer } from "./alerts_view.js";
import { createDetailView } from "./detail_view.js";
import { byId, prefersReducedMotion } from "./dom.js";
import { language, preferredLanguage, useLanguage } from "./i18n.js";
import { createIncidentsFeed } from "./incidents_feed.js";
import { createIncidentsView } from "./incidents_view.js";
import { createLinkView } from "./link_view.js";
import { arrangeStations, createListView } from "./list_view.js";
import { createMapView } from "./map_view.js";
import { showNav } from "./nav.js";
import { addLanguages } from "./shell.js";
import { keyOf } from "./stages.js";
import { createStationsFeed } from "./stations_feed.js";
import { createStore } from "./store.js";
import { createSummaryView } from "./summary_view.js";

/** @import { Station } from "./types.js" */

const NARROW = "(max-width: 719px)"; // the same limit as in css/layout.css

const store = createStore({
  stations: [],
  stages: new Map(),
  loaded: false,
  link: "loading",
  dataTime: null,
  silence: 0,
  streaming: false,
  alerts: new Map(),
  alertsLink: "loading",
  freshAlerts: new Set(),
  incidents: [],
  incidentsLink: "loading",
  selected: null,
  filter: "",
  kind: null,
  sort: "severity",
  range: "24h",
  lang: "",
  notice: null,
});

/** The station named in the address, so that a page can be passed on and survives a reload. */
function stationInAddress() {
  return new URLSearchParams(location.hash.slice(1)).get("station");
}

/** @param {string} key */
function select(key) {
  store.set({ selected: key });
  history.replaceState(null, "", `#${new URLSearchParams({ station: key })}`);
  if (window.matchMedia(NARROW).matches) {
    byId("detail").scrollIntoView({ behavior: prefersReducedMotion() ? "auto" : "smooth", block: "start" });
  }
}

/** An alert names an entity; its station is the quantity that has thresholds. @param {string} entityId */
function selectEntity(entityId) {
  const candidates = store.get().stations.filter((station) => station.entityId === entityId);
  const station = candidates.find(({ thresholds }) => thresholds.length > 0) ?? candidates[0];
  if (station) select(keyOf(station));
}

/** Until a person chooses, the station shown is the one in the address, else the worst. */
function selectFirst() {
  const state = store.get();
  if (state.selected !== null || state.stations.length === 0) return;
  const asked = state.stations.find((station) => keyOf(station) === stationInAddress());
  const worst = arrangeStations({ ...state, filter: "", kind: null, sort: "severity" })[0]?.station;
  const first = asked ?? worst;
  if (first) store.set({ selected: keyOf(first), range: firstRange(first) });
}

/**
 * A day holds the rise and the fall of most floods; a station that reports many times a minute (a replay in quick
 * motion, a test) has them within the hour.
 * @param {Station} station
 */
function firstRange({ expectedIntervalSeconds }) {
  return expectedIntervalSeconds !== null && expectedIntervalSeconds < 30 ? "1h" : "24h";
}

async function start() {
  addLanguages(() => {
    showNav(byId("nav"));
    store.set({ lang: language() });
  });
  await useLanguage(preferredLanguage(), false);
  showNav(byId("nav"));
  const feed = createStationsFeed(store);
  const page = { now: feed.now, select, selectEntity };
  createLinkView(store, page);
  createSummaryView(store);
  createListView(store, page);
  createDetailView(store, page);
  createAlertsView(store, page);
  const incidents = createIncidentsFeed(store);
  createIncidentsView(store, page, incidents.act);
  store.set({ lang: language() });

  let mapAsked = false;
  store.subscribe((state, changed) => {
    if (changed.has("stations")) selectFirst();
    if (state.loaded && !mapAsked) {
      mapAsked = true;
      void createMapView(store, page);
    }
  });
  feed.start();
  void incidents.start();
  void createAlertsFeed(store, createAnnouncer(store, feed.now)).start();
}

void start();
