// SPDX-License-Identifier: Apache-2.0
// Stations on the map as real buttons over the canvas: focusable, named, in colour, shape and text. Symbols that would
// overlap become one button that says how many they are and shows the worst of them.

import { boundsOf, distance, groupByPixel, placeLabels, spot } from "./areas.js";
import { el, setAttribute } from "./dom.js";
import { formatValue } from "./format.js";
import { t } from "./i18n.js";
import { isSilent, stateName, stateSentence } from "./stages.js";
import { stateSymbol } from "./symbols.js";

/** @import { Located } from "./areas.js" */

const GROUP_REACH = 30; // pixels
const SAME_PLACE = 0.2; // kilometres
const SYMBOL_RADIUS = 15; // pixels
const LABEL_ZOOM = 7; // names are shown from this zoom up

/** @typedef {{ marker: any, button: HTMLButtonElement, label: HTMLElement|null, members: Located[], look: string, chosen: string|null }} Mark */

/**
 * @param {any} library  the MapLibre module
 * @param {any} map
 * @param {{ select: (key: string) => void, zoomTo: (members: Located[]) => void }} page
 */
export function createMarkers(library, map, page) {
  /** @type {Map<string, Mark>} by the keys of the members */
  const marks = new Map();

  /** @param {string} id @param {Located[]} members */
  function markFor(id, members) {
    let mark = marks.get(id);
    if (!mark) {
      const button = el("button", { type: "button", class: "marker" });
      const marker = new library.Marker({ element: button }).setLngLat(spot(members[0])).addTo(map);
      mark = { marker, button, label: null, members, look: "", chosen: null };
      const own = mark;
      button.addEventListener("click", (event) => {
        event.stopPropagation();
        if (own.members.length > 1 && canPart(own.members)) page.zoomTo(own.members);
        else page.select(nextMember(own));
      });
      marks.set(id, mark);
    }
    mark.members = members;
    mark.marker.setLngLat(spot(members[0]));
    return mark;
  }

  /** @param {Mark} mark @param {string|null} selected */
  function dress(mark, selected) {
    const worst = mark.members[0];
    const content = markContent(mark.members);
    if (mark.look !== content.look) {
      mark.label = content.label;
      mark.button.replaceChildren(stateSymbol(worst.look), ...(content.label ? [content.label] : []));
      setAttribute(mark.button, "aria-label", content.name);
      setAttribute(mark.button, "title", content.name);
      mark.look = content.look;
    }
    mark.button.classList.toggle("is-silent", isSilent(worst.look));
    mark.button.classList.toggle("is-group", mark.members.length > 1);
    const current = mark.members.some((member) => member.key === selected);
    mark.chosen = current ? selected : null;
    setAttribute(mark.button, "aria-current", current ? "true" : null);
    mark.button.style.zIndex = String(1 + worst.look.severity + (current ? 100 : 0));
  }

  return {
    /** @param {Located[]} located @param {string|null} selected */
    show(located, selected) {
      const groups = groupByPixel(located, (place) => map.project(spot(place)), GROUP_REACH);
      const wanted = new Map(
        groups.map((members) => [
          members
            .map((member) => member.key)
            .sort()
            .join(" "),
          members,
        ]),
      );
      for (const [id, mark] of marks) {
        if (wanted.has(id)) continue;
        mark.marker.remove();
        marks.delete(id);
      }
      for (const [id, members] of wanted) dress(markFor(id, members), selected);
      layOutLabels(
        map,
        [...wanted.keys()].map((id) => /** @type {Mark} */ (marks.get(id))),
      );
    },
  };
}

/**
 * Whether zooming in can draw a group apart; quantities of one place never part.
 * @param {Located[]} members
 */
function canPart(members) {
  const [southWest, northEast] = boundsOf(members);
  return distance(southWest, northEast) > SAME_PLACE;
}

/**
 * The member after the chosen one, so that each click on a group of one place shows the next.
 * @param {Mark} mark
 */
function nextMember({ members, chosen }) {
  const at = members.findIndex((member) => member.key === chosen);
  return members[(at + 1) % members.length].key;
}

/** @param {Located[]} members  the most severe first */
function markContent(members) {
  const worst = members[0];
  if (members.length > 1) {
    const name = t("mapGroup", { count: members.length, state: stateName(worst.look) });
    const label = el("span", { class: "marker-count" }, String(members.length));
    return { name, label, look: `${name}|${worst.look.stage?.code}` };
  }
  const { station, look } = worst;
  const value = formatValue(station.value, station.unitCode);
  const state = stateSentence(look);
  const calm = look.kind === "normal" || look.kind === "noThresholds";
  const label = el(
    "span",
    { class: "marker-label" },
    el("span", { class: "marker-name" }, station.name),
    el("span", { class: "marker-value" }, calm ? value : `${stateName(look)} ${value}`),
  );
  return {
    name: `${station.name}, ${state}, ${value}`,
    label,
    look: `${station.name}|${state}|${value}|${look.kind}`,
  };
}

/** @param {any} map @param {Mark[]} marks  the most severe first */
function layOutLabels(map, marks) {
  const singles = marks.filter((mark) => mark.members.length === 1 && mark.label);
  const symbols = marks.map((mark) => map.project(spot(mark.members[0])));
  const near = map.getZoom() >= LABEL_ZOOM;
  const labels = singles.map((mark) => ({
    at: map.project(spot(mark.members[0])),
    width: mark.label?.offsetWidth ?? 0,
    height: mark.label?.offsetHeight ?? 0,
  }));
  const { clientWidth, clientHeight } = map.getContainer();
  const view = { left: 0, top: 0, right: clientWidth, bottom: clientHeight };
  const sides = near
    ? placeLabels(labels, symbols, SYMBOL_RADIUS, view, toolBoxes(map.getContainer()))
    : labels.map(() => null);
  singles.forEach((mark, index) => {
    setAttribute(/** @type {HTMLElement} */ (mark.label), "data-side", sides[index] ?? "hidden");
  });
}

/**
 * Where the buttons of the map lie, in pixels of the map.
 * @param {HTMLElement} container
 */
function toolBoxes(container) {
  const origin = container.getBoundingClientRect();
  return [...document.querySelectorAll("#map-tools button")].map((button) => {
    const { left, top, right, bottom } = button.getBoundingClientRect();
    return {
      left: left - origin.left,
      top: top - origin.top,
      right: right - origin.left,
      bottom: bottom - origin.top,
    };
  });
}
