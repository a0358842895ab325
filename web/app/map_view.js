// SPDX-License-Identifier: Apache-2.0
// The map. MapLibre is large, so it is loaded after the list is on screen; without WebGL a sentence takes its place and
// everything else goes on working.

import { boundsOf, findAreas, spot } from "./areas.js";
import { baseStyle, gridLines, gridStep, repaint } from "./basemap.js";
import { byId, el, prefersReducedMotion, setAttribute, setText } from "./dom.js";
import { t } from "./i18n.js";
import { createMarkers } from "./map_markers.js";
import { keyOf, stateOf } from "./stages.js";

/** @import { Area, Located } from "./areas.js" */
/** @import { PageState } from "./types.js" */
/** @import { Store } from "./store.js" */

const VENDOR = "../vendor/maplibre-gl-6.17.0";
const PARTS = ["stations", "stages", "silence", "selected", "lang"];
const CLOSEST_FIT = 10.5; // zoom; the outlines say nothing finer
const ALONE_FIT = 8.5; // zoom for a single station, with some coast around it

/**
 * @param {Store} store
 * @param {{ select: (key: string) => void }} page
 */
export async function createMapView(store, page) {
  const message = byId("map-message");
  const showMessage = (/** @type {string} */ key) => {
    message.hidden = key === "";
    setText(message, key && t(key));
    message.dataset.key = key;
  };
  store.subscribe((_state, changed) => {
    if (changed.has("lang") && message.dataset.key) setText(message, t(message.dataset.key));
  });
  showMessage("mapLoading");
  try {
    if (!hasWebGl()) throw new Error("no WebGL");
    const library = await loadLibrary();
    const map = await openMap(library, store);
    showMessage("");
    connect(store, library, map, page, showMessage);
  } catch {
    byId("map").hidden = true;
    showMessage("mapUnavailable");
  }
}

/** Asked before MapLibre is loaded: it writes an error to the console where it finds none. */
function hasWebGl() {
  return document.createElement("canvas").getContext("webgl2") !== null;
}

async function loadLibrary() {
  const href = new URL(`${VENDOR}/maplibre-gl.css`, import.meta.url).href;
  const loaded = new Promise((resolve, reject) => {
    document.head.prepend(el("link", { rel: "stylesheet", href, onload: resolve, onerror: reject }));
  });
  const [library] = await Promise.all([import(`${VENDOR}/maplibre-gl.mjs`), loaded]);
  library.setWorkerUrl(new URL(`${VENDOR}/maplibre-gl-worker.mjs`, import.meta.url).href);
  return library;
}

/** @param {any} library @param {Store} store */
function openMap(library, store) {
  const first = findAreas(locate(store.get()))[0];
  const map = new library.Map({
    container: byId("map"),
    style: baseStyle(),
    bounds: first?.bounds,
    fitBoundsOptions: fitOptions(first?.members ?? [], true),
    center: [138, 36],
    zoom: 4,
    maxZoom: 14,
    minZoom: 0.5,
    attributionControl: false,
    dragRotate: false,
    pitchWithRotate: false,
    touchPitch: false,
    fadeDuration: 0,
  });
  map.touchZoomRotate.disableRotation();
  map.keyboard.disableRotation();
  map.addControl(new library.ScaleControl({ maxWidth: 90 }), "bottom-left");
  map.addControl(
    new library.AttributionControl({ compact: false, customAttribution: t("mapCredit") }),
    "bottom-right",
  );
  return new Promise((resolve, reject) => {
    map.once("load", () => resolve(map));
    map.once("error", (/** @type {any} */ event) => reject(event.error));
  });
}

/** @param {Located[]} members @param {boolean} instant */
function fitOptions(members, instant) {
  return {
    padding: { top: 84, bottom: 44, left: 60, right: 100 },
    maxZoom: members.length > 1 ? CLOSEST_FIT : ALONE_FIT,
    duration: instant || prefersReducedMotion() ? 0 : 600,
  };
}

/**
 * @param {PageState} state
 * @returns {Located[]}
 */
function locate(state) {
  return state.stations
    .filter((station) => station.location !== null)
    .map((station) => ({
      station,
      key: keyOf(station),
      look: stateOf(station, state.stages, state.silence),
    }));
}

/**
 * @param {Store} store
 * @param {any} library
 * @param {any} map
 * @param {{ select: (key: string) => void }} page
 * @param {(key: string) => void} showMessage
 */
function connect(store, library, map, page, showMessage) {
  let fitted = store.get().stations.some((station) => station.location !== null);
  const fit = (/** @type {Located[]} */ members, instant = false) => {
    if (members.length > 0) map.fitBounds(boundsOf(members), fitOptions(members, instant));
  };
  const markers = createMarkers(library, map, {
    select: page.select,
    zoomTo: (members) => map.fitBounds(boundsOf(members), { ...fitOptions(members, false), maxZoom: 14 }),
  });
  const tools = createTools(map, fit);

  function render() {
    const state = store.get();
    const located = locate(state);
    if (!fitted && located.length > 0) {
      fitted = true;
      fit(findAreas(located)[0].members, true);
    }
    markers.show(located, state.selected);
    tools.show(located, state.lang);
    if (state.loaded) showMessage(located.length === 0 ? "mapNoLocation" : "");
    setAttribute(map.getCanvas(), "aria-label", t("mapCanvas"));
  }

  function drawGrid() {
    const bounds = map.getBounds();
    const step = gridStep(bounds.getEast() - bounds.getWest());
    map.getSource("grid").setData(gridLines(bounds.toArray(), step));
  }

  map.on("moveend", () => {
    drawGrid();
    render();
  });
  store.subscribe((state, changed) => {
    if (changed.has("selected")) bringIntoView(map, state);
    if (PARTS.some((part) => changed.has(part))) render();
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => repaint(map));
  drawGrid();
  render();
}

/**
 * A station chosen in the list or by an alert is brought into the view if it lies outside.
 * @param {any} map
 * @param {PageState} state
 */
function bringIntoView(map, state) {
  const chosen = locate(state).find((place) => place.key === state.selected);
  if (!chosen || map.getBounds().contains(spot(chosen))) return;
  const area = findAreas(locate(state)).find(({ members }) =>
    members.some((member) => member.key === chosen.key),
  );
  if (area) map.fitBounds(area.bounds, fitOptions(area.members, false));
}

/**
 * Zoom buttons and one button for each area.
 * @param {any} map
 * @param {(members: Located[]) => void} fit
 */
function createTools(map, fit) {
  const host = byId("map-tools");
  let drawn = "";

  /** @param {string} text @param {string|null} name @param {() => void} act */
  const button = (text, name, act) =>
    el("button", { type: "button", "aria-label": name, title: name, onclick: act }, text);
  const still = () => ({ duration: prefersReducedMotion() ? 0 : 250 });

  /** @param {Area[]} areas @param {Located[]} located */
  function build(areas, located) {
    const zoom = el(
      "div",
      { class: "tool-group is-zoom" },
      button("+", t("mapZoomIn"), () => map.zoomIn(still())),
      button("−", t("mapZoomOut"), () => map.zoomOut(still())),
    );
    const choices = el(
      "div",
      { class: "tool-group", role: "group", "aria-label": t("mapAreas") },
      ...areas.map((area) => button(areaName(area), null, () => fit(area.members))),
      areas.length > 1 && button(t("mapAll"), null, () => fit(located)),
    );
    host.replaceChildren(choices, zoom);
    host.hidden = false;
  }

  return {
    /** @param {Located[]} located @param {string} lang */
    show(located, lang) {
      const areas = findAreas(located).sort(
        (a, b) => located.indexOf(a.members[0]) - located.indexOf(b.members[0]),
      );
      const look = [lang, ...areas.map((area) => areaName(area) + area.bounds.join())].join("|");
      if (look !== drawn) build(areas, located);
      drawn = look;
    },
  };
}

/** @param {Area} area */
function areaName({ name, members }) {
  return members.length > 1 ? t("mapMore", { name, count: members.length - 1 }) : name;
}
