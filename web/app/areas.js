// SPDX-License-Identifier: Apache-2.0
// Where the stations lie: areas (clusters by distance, one button each) and groups (symbols that would overlap at the
// present zoom). Pure. Locations are longitude, latitude in degrees (WGS84).

/** @import { Station, StationState } from "./types.js" */

/** @typedef {{ station: Station, look: StationState, key: string }} Located  a station that has a location */
/** @typedef {{ name: string, members: Located[], bounds: [[number, number], [number, number]] }} Area */
/** @typedef {{ x: number, y: number }} Pixel */

const AREA_DISTANCE = 60; // kilometres: farther apart than this from every member is another area
const EARTH_RADIUS = 6371; // kilometres

/**
 * Great-circle distance in kilometres.
 * @param {[number, number]} a
 * @param {[number, number]} b
 */
export function distance(a, b) {
  const radians = (/** @type {number} */ degrees) => (degrees * Math.PI) / 180;
  const halfLat = Math.sin(radians(b[1] - a[1]) / 2);
  const halfLon = Math.sin(radians(b[0] - a[0]) / 2);
  const root = halfLat ** 2 + Math.cos(radians(a[1])) * Math.cos(radians(b[1])) * halfLon ** 2;
  return 2 * EARTH_RADIUS * Math.asin(Math.sqrt(root));
}

/**
 * Areas in which each member lies near another one, the area of the most severe station first. An area is called by
 * its first member in the order given, so its name stays while the states change.
 * @param {Located[]} located
 * @returns {Area[]}
 */
export function findAreas(located) {
  /** @type {Located[][]} */
  let areas = [];
  for (const one of located) {
    const near = areas.filter((area) =>
      area.some((member) => distance(spot(member), spot(one)) <= AREA_DISTANCE),
    );
    const far = areas.filter((area) => !near.includes(area));
    const joined = near.length === 1 ? near[0] : near.flat();
    joined.push(one);
    areas = [...far, joined];
  }
  const place = new Map(located.map((member, index) => [member, index]));
  const inOrder = (/** @type {Located} */ a, /** @type {Located} */ b) =>
    (place.get(a) ?? 0) - (place.get(b) ?? 0);
  const worst = (/** @type {Located[]} */ area) => Math.max(...area.map((member) => member.look.severity));
  return areas
    .map((members) => members.sort(inOrder))
    .sort((a, b) => worst(b) - worst(a) || inOrder(a[0], b[0]))
    .map((members) => ({ name: members[0].station.name, members, bounds: boundsOf(members) }));
}

/**
 * South-west and north-east corner.
 * @param {Located[]} members
 * @returns {[[number, number], [number, number]]}
 */
export function boundsOf(members) {
  const longitudes = members.map((member) => spot(member)[0]);
  const latitudes = members.map((member) => spot(member)[1]);
  return [
    [Math.min(...longitudes), Math.min(...latitudes)],
    [Math.max(...longitudes), Math.max(...latitudes)],
  ];
}

/** @param {Located} place @returns {[number, number]} */
export function spot(place) {
  return /** @type {[number, number]} */ (place.station.location);
}

/**
 * Groups stations whose symbols would lie closer than `reach` pixels, around the most severe one of each.
 * @param {Located[]} located
 * @param {(place: Located) => Pixel} project
 * @param {number} reach
 * @returns {Located[][]}
 */
export function groupByPixel(located, project, reach) {
  /** @type {{ centre: Pixel, members: Located[] }[]} */
  const groups = [];
  const order = [...located].sort((a, b) => b.look.severity - a.look.severity || a.key.localeCompare(b.key));
  for (const place of order) {
    const at = project(place);
    const group = groups.find(({ centre }) => Math.hypot(centre.x - at.x, centre.y - at.y) < reach);
    if (group) group.members.push(place);
    else groups.push({ centre: at, members: [place] });
  }
  return groups.map(({ members }) => members);
}

/** @typedef {{ left: number, top: number, right: number, bottom: number }} Box */

/**
 * Chooses a side for each label so that none covers another label or a symbol or leaves the view; null where no side
 * is free. Labels come in order of importance.
 * @param {{ at: Pixel, width: number, height: number }[]} labels
 * @param {Pixel[]} symbols
 * @param {number} radius  of a symbol, pixels
 * @param {Box} view
 * @param {Box[]} reserved  places no label may cover
 * @returns {("right"|"left"|"above"|"below"|null)[]}
 */
export function placeLabels(labels, symbols, radius, view, reserved) {
  /** @type {Box[]} */
  const taken = [
    ...reserved,
    ...symbols.map(({ x, y }) => ({
      left: x - radius,
      top: y - radius,
      right: x + radius,
      bottom: y + radius,
    })),
  ];
  const sides = /** @type {const} */ (["right", "left", "above", "below"]);
  return labels.map((label) => {
    const side = sides.find((candidate) => {
      const box = labelBox(label, candidate, radius);
      return isInside(box, view) && !taken.some((other) => overlaps(box, other));
    });
    if (side) taken.push(labelBox(label, side, radius));
    return side ?? null;
  });
}

/**
 * @param {{ at: Pixel, width: number, height: number }} label
 * @param {"right"|"left"|"above"|"below"} side
 * @param {number} radius
 * @returns {Box}
 */
function labelBox({ at, width, height }, side, radius) {
  const gap = radius + 1;
  const left = {
    right: at.x + gap,
    left: at.x - gap - width,
    above: at.x - width / 2,
    below: at.x - width / 2,
  }[side];
  const top = {
    right: at.y - height / 2,
    left: at.y - height / 2,
    above: at.y - gap - height,
    below: at.y + gap,
  }[side];
  return { left, top, right: left + width, bottom: top + height };
}

/** @param {Box} box @param {Box} view */
function isInside(box, view) {
  return box.left >= view.left && box.right <= view.right && box.top >= view.top && box.bottom <= view.bottom;
}

/** @param {Box} a @param {Box} b */
function overlaps(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
