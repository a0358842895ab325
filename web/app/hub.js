// SPDX-License-Identifier: Apache-2.0
// Talks to the hub: JSON addresses and one event stream, all of the page's own origin. Addresses are relative to
// the document, so that the page also works below a path of a reverse proxy.

/** @import { AlarmAction, Alert, Incident, Point, Station, StationsAnswer } from "./types.js" */

const TIMEOUT = 8000; // milliseconds; a hub that needs longer counts as not reachable
const STREAM_RETRY = 5000; // milliseconds until a refused stream is asked for again

/**
 * @param {string} path
 * @returns {Promise<any>}
 */
async function getJson(path) {
  const answer = await fetch(new URL(path, document.baseURI), {
    headers: { Accept: "application/json" },
    cache: "no-store",
    signal: AbortSignal.timeout(TIMEOUT),
  });
  if (!answer.ok) throw new Error(`${path}: HTTP ${answer.status}`);
  return answer.json();
}

/** @returns {Promise<StationsAnswer>} */
export async function fetchStations() {
  const answer = await getJson("api/v1/stations");
  return { ...answer, stations: answer.stations.map(usable) };
}

/**
 * A value that is no number cannot be drawn or compared, so such a station counts as having none.
 * @param {Station} station
 * @returns {Station}
 */
function usable(station) {
  const value = typeof station.value === "number" && Number.isFinite(station.value) ? station.value : null;
  return { ...station, value, unitCode: station.unitCode ?? "" };
}

/** @returns {Promise<Alert[]>} */
export async function fetchAlerts() {
  return (await getJson("api/v1/alerts?state=all&limit=50")).alerts;
}

/** @returns {Promise<Incident[]>} */
export async function fetchIncidents() {
  return (await getJson("api/v1/incidents?state=open")).incidents;
}

/**
 * Does something to an alarm; throws with what the hub says against it.
 * @param {string} alarmId
 * @param {AlarmAction} action
 * @param {Record<string, string|number>} body
 */
export async function actOnAlarm(alarmId, action, body) {
  const path = `api/v1/alarms/${encodeURIComponent(alarmId)}/${action}`;
  const answer = await fetch(new URL(path, document.baseURI), {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT),
  });
  if (answer.ok) return;
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.detail ?? problem.title ?? `HTTP ${answer.status}`);
}

/**
 * @param {string} entityId
 * @param {string} attribute
 * @param {number} from  seconds since 1970
 * @param {number} to
 * @returns {Promise<Point[]>}
 */
export async function fetchSeries(entityId, attribute, from, to) {
  const query = new URLSearchParams({ attribute, from: isoTime(from), to: isoTime(to) });
  return (await getJson(`api/v1/stations/${encodeURIComponent(entityId)}/series?${query}`)).points;
}

/**
 * The lowest and highest readings of each stretch of a long range, with an empty point in each gap.
 * @param {string} entityId
 * @param {string} attribute
 * @param {number} from  seconds since 1970
 * @param {number} to
 * @param {number} points  about how many
 * @returns {Promise<Point[]>}
 */
export async function fetchOverview(entityId, attribute, from, to, points) {
  const query = new URLSearchParams({ from: isoTime(from), to: isoTime(to), points: String(points) });
  const path = `api/v1/entities/${encodeURIComponent(entityId)}/series/${encodeURIComponent(attribute)}`;
  const [times, values] = (await getJson(`${path}?${query}`)).data;
  return times.map((/** @type {number} */ time, /** @type {number} */ index) => [time, values[index]]);
}

/**
 * The newest run of each model for one attribute of a station, expired ones too.
 * @param {string} entityId
 * @param {string} attribute
 * @returns {Promise<any[]>}
 */
export async function fetchForecasts(entityId, attribute) {
  const query = new URLSearchParams({ entityId, attribute });
  return (await getJson(`api/v1/forecasts?${query}`)).forecasts;
}

/** @param {number} seconds */
function isoTime(seconds) {
  return new Date(Math.round(seconds) * 1000).toISOString().replace(".000Z", "Z");
}

/**
 * Listens to the alert stream for as long as the page lives. The browser itself reconnects a broken stream with
 * Last-Event-ID; only a stream the hub refused (an error status) has to be opened anew.
 * @param {{ onAlert: (alert: Alert) => void, onState: (open: boolean) => void }} listener
 */
export function followAlerts({ onAlert, onState }) {
  const open = () => {
    const stream = new EventSource(new URL("api/v1/alerts/stream", document.baseURI));
    /** @param {MessageEvent} event */
    const receive = (event) => onAlert(JSON.parse(event.data));
    stream.addEventListener("raised", receive);
    stream.addEventListener("cleared", receive);
    stream.addEventListener("open", () => onState(true));
    stream.addEventListener("error", () => {
      onState(false);
      if (stream.readyState !== EventSource.CLOSED) return;
      setTimeout(open, STREAM_RETRY);
    });
  };
  open();
}
