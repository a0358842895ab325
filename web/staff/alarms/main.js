// SPDX-License-Identifier: Apache-2.0
// Puts the page of alarms together: what the hub says, asked for every few seconds, and views that show it.

import { byId, el, setText } from "../../app/dom.js";
import { formatClock, formatFull, formatTime, zoneName } from "../../app/format.js";
import { language, t } from "../../app/i18n.js";
import { ask, guarded, nameIn, openPage, poll, say } from "../page.js";
import { createAudit } from "./audit.js";
import { deliveriesByAlarm, sortIncidents, whatIsMissing } from "./model.js";
import { createView, showOverview } from "./view.js";

const POLL = 4000; // milliseconds
const SERIES_EVERY = 30000;
const HOURS = 3; // of the small curves

/** @type {any} */
const known = {
  lang: "ja",
  now: new Date(),
  minute: 0,
  stages: new Map(),
  stations: [],
  incidents: [],
  missing: [],
  deliveries: new Map(),
  names: new Map(),
  hasPlans: true,
  series: new Map(),
  stationOf: (/** @type {any} */ alarm) => known.stations.find((/** @type {any} */ one) => one.entityId === alarm.entityId && alarm.attribute.endsWith(one.attribute)),
};
let seriesAt = 0;
/** @type {Date|null} */
let heardAt = null;

async function load() {
  const [stations, incidents, notices, contacts, plans] = await Promise.all([
    ask("GET", "api/v1/stations"),
    ask("GET", "api/v1/incidents?state=open&limit=200"),
    ask("GET", "api/v1/notices?limit=1000"),
    ask("GET", "api/v1/contacts"),
    ask("GET", "api/v1/notification-plans"),
  ]);
  known.now = new Date(stations.generatedAt);
  known.stages = new Map(stations.stages.map((/** @type {any} */ stage) => [stage.code, stage]));
  known.stations = stations.stations;
  known.incidents = sortIncidents(incidents.incidents);
  known.deliveries = deliveriesByAlarm(notices.notices);
  known.names = new Map(contacts.contacts.map((/** @type {any} */ contact) => [contact.id, contact.name]));
  known.hasPlans = plans.notificationPlans.some((/** @type {any} */ plan) => plan.enabled !== false);
  const alarms = known.incidents.flatMap((/** @type {any} */ incident) => incident.alarms);
  const isNew = alarms.some((/** @type {any} */ alarm) => !known.series.has(alarm.alarmId));
  if (isNew || Date.now() - seriesAt > SERIES_EVERY) await loadSeries(alarms);
  heardAt = known.now;
  show();
}

/** The last hours of each station with an open alarm; what cannot be had is left out. */
async function loadSeries(/** @type {any[]} */ alarms) {
  seriesAt = Date.now();
  const from = new Date(known.now.getTime() - HOURS * 3600e3).toISOString();
  const found = await Promise.all(
    alarms.map(async (alarm) => {
      const query = new URLSearchParams({ attribute: alarm.attribute, from });
      const path = `api/v1/stations/${encodeURIComponent(alarm.entityId)}/series?${query}`;
      const points = await ask("GET", path).then((answer) => answer.points, () => []);
      return [alarm.alarmId, points];
    }),
  );
  known.series = new Map(/** @type {any} */ (found));
}

const view = createView({
  async act(alarmId, action, body) {
    await ask("POST", `api/v1/alarms/${encodeURIComponent(alarmId)}/${action}`, body);
    say(t(`done_${action}`));
    await load();
  },
  steps: async (alarmId) => (await ask("GET", `api/v1/alarms/${encodeURIComponent(alarmId)}`)).steps,
});

function show() {
  known.lang = language();
  known.minute = Math.floor(known.now.getTime() / 60000);
  const alarms = known.incidents.flatMap((/** @type {any} */ incident) => incident.alarms);
  known.missing = whatIsMissing({ ...known, alarms });
  showOverview(known);
  view.show(known);
}

async function loadPast() {
  const { incidents } = await ask("GET", "api/v1/incidents?state=all&limit=100");
  const closed = incidents.filter((/** @type {any} */ incident) => incident.closedAt);
  const heads = ["river", "from", "until", "stationsWord", "acknowledgers"].map((key) => el("th", { scope: "col" }, t(key)));
  const rows = closed.map((/** @type {any} */ incident) => {
    const people = new Set(incident.alarms.map((/** @type {any} */ alarm) => alarm.acknowledgedBy).filter(Boolean));
    const stations = new Set(incident.alarms.map((/** @type {any} */ alarm) => nameIn(alarm.stationName)));
    const at = (/** @type {string} */ text) => formatTime(new Date(text), known.now);
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, nameIn(incident.name)),
      el("td", {}, at(incident.openedAt)),
      el("td", {}, at(incident.closedAt)),
      el("td", {}, [...stations].join("、")),
      el("td", {}, [...people].join("、") || t("nobody")),
    );
  });
  if (rows.length === 0) rows.push(el("tr", {}, el("td", { colspan: "5" }, t("none"))));
  byId("past-list").replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows)));
}

/** @param {boolean} isThere */
function onLink(isThere) {
  const lost = byId("lost");
  lost.hidden = isThere;
  if (!isThere) setText(lost, heardAt ? t("lostSince", { time: formatFull(heardAt) }) : t("unreachable"));
  document.body.classList.toggle("is-lost", !isThere);
}

await openPage("alarmsTitle", () => {
  show();
  if (byId("past").open) void guarded(loadPast);
  if (byId("audit").open) void guarded(audit.load);
});
const audit = createAudit();
byId("past").addEventListener("toggle", () => {
  if (byId("past").open) void guarded(loadPast);
});
poll(POLL, load, onLink);
setInterval(() => {
  setText(byId("clock"), formatClock(new Date()));
  setText(byId("zone"), zoneName());
}, 1000);
