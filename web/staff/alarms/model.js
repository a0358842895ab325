// SPDX-License-Identifier: Apache-2.0
// What the page of alarms shows, made of what the hub says. Pure.

/**
 * @typedef {{ contactId: string, channel: string, address: string, state: string, kind: string, error: string|null,
 *   at: string, attempts: number, heldFor: string|null, dueAt: string|null }} Delivery  the newest by one channel
 */

export const FAILED = "failed";

/**
 * The newest notice of each alarm by person and channel, those that failed first.
 * @param {any[]} notices  newest first, as the hub lists them
 * @returns {Map<string, Delivery[]>} by alarm
 */
export function deliveriesByAlarm(notices) {
  /** @type {Map<string, Map<string, Delivery>>} */
  const found = new Map();
  for (const notice of notices) {
    if (!notice.alarmId) continue;
    const ways = found.get(notice.alarmId) ?? new Map();
    found.set(notice.alarmId, ways);
    const key = `${notice.contactId} ${notice.channel} ${notice.address}`;
    if (!ways.has(key)) ways.set(key, { ...notice, at: notice.finishedAt ?? notice.createdAt });
  }
  const order = [FAILED, "queued", "held", "merged", "delivered"];
  const byState = (/** @type {Delivery} */ a, /** @type {Delivery} */ b) =>
    order.indexOf(a.state) - order.indexOf(b.state) || a.contactId.localeCompare(b.contactId);
  return new Map([...found].map(([alarm, ways]) => [alarm, [...ways.values()].sort(byState)]));
}

/** @param {any} alarm */
export function isOpen(alarm) {
  return alarm.status !== "cleared";
}

/** The worst first; of the same stage what nobody has acknowledged. @param {any} a @param {any} b */
function worstFirst(a, b) {
  return b.stageOrder - a.stageOrder || Number(b.status === "open") - Number(a.status === "open");
}

/**
 * Incidents with their open alarms, the worst first.
 * @param {any[]} incidents
 */
export function sortIncidents(incidents) {
  const shown = incidents.map((incident) => ({
    ...incident,
    alarms: incident.alarms.filter(isOpen).sort(worstFirst),
  }));
  return shown.sort((a, b) => {
    const [first, second] = [a.alarms[0], b.alarms[0]];
    if (!first || !second) return Number(!first) - Number(!second);
    return worstFirst(first, second) || b.unacknowledged - a.unacknowledged;
  });
}

/**
 * What is missing, so that nobody has to look for it: a key of a text and how many.
 * @param {{ alarms: any[], deliveries: Map<string, Delivery[]>, stations: any[], hasPlans: boolean }} known
 * @returns {[string, number][]}
 */
export function whatIsMissing({ alarms, deliveries, stations, hasPlans }) {
  const of = (/** @type {any} */ alarm) => deliveries.get(alarm.alarmId) ?? [];
  const failed = alarms.flatMap(of).filter((one) => one.state === FAILED || (one.state === "queued" && one.attempts > 0));
  const silent = stations.filter((station) => station.status !== "live" && station.thresholds.length > 0);
  /** @type {[string, number][]} */
  const found = [
    ["missingNoPlans", hasPlans ? 0 : 1],
    ["missingUnacknowledged", alarms.filter((alarm) => alarm.status === "open").length],
    ["missingTold", hasPlans ? alarms.filter((alarm) => of(alarm).length === 0).length : 0],
    ["missingFailed", new Set(failed.map((one) => one.contactId)).size],
    ["missingUnknown", alarms.filter((alarm) => alarm.unknown).length],
    ["missingSilent", silent.length],
  ];
  return found.filter(([, count]) => count > 0);
}

const OLD = 3600; // seconds, after which a value of a station without an expected interval is no present one

/**
 * The newest value there is, of the alarm's last decision, of the station or of the series; `isPresent` false: it is so
 * old, or its station so late, that nobody knows how high the water is now.
 * @param {any} alarm @param {any} station @param {[number, number|null][]} points @param {Date} now
 * @returns {{ value: number|null, at: Date|null, isPresent: boolean }}
 */
export function newestValue(alarm, station, points, now) {
  const point = points.filter(([, value]) => value !== null).at(-1);
  const isComparable = station && station.unitCode === alarm.unitCode && station.observedAt;
  /** @type {[number|null, Date][]} */
  const known = [];
  if (alarm.observedAt) known.push([alarm.value, new Date(alarm.observedAt)]);
  if (isComparable) known.push([station.value, new Date(station.observedAt)]);
  if (point && (!station || isComparable)) known.push([point[1], new Date(point[0] * 1000)]);
  const [value, at] = known.filter(([one]) => one !== null).sort((a, b) => b[1].getTime() - a[1].getTime())[0] ?? [null, null];
  const age = at ? (now.getTime() - at.getTime()) / 1000 : Infinity;
  const isPresent = !alarm.unknown && value !== null && (station ? station.status === "live" : age < OLD);
  return { value, at, isPresent };
}

/**
 * How the level moved in the last hour of what is known, or null.
 * @param {[number, number|null][]} points  seconds and values, in order of time
 */
export function changeInAnHour(points) {
  const known = points.filter(([, value]) => value !== null);
  const last = known.at(-1);
  if (!last) return null;
  const before = known.filter(([time]) => time <= last[0] - 3000).at(-1);
  if (!before || before[0] < last[0] - 2 * 3600) return null;
  return ((Number(last[1]) - Number(before[1])) * 3600) / (last[0] - before[0]);
}
