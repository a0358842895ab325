// SPDX-License-Identifier: Apache-2.0
// Puts the page of drills together: begin one, watch it, end it, look at its report.

import { remember, remembered } from "../../app/alarm_form.js";
import { byId, el, setText } from "../../app/dom.js";
import { formatDayTime, formatDuration, formatFull } from "../../app/format.js";
import { t } from "../../app/i18n.js";
import { stageName, stageOf } from "../../app/stages.js";
import { button, check, compact, hubTime, keepFocus, table } from "../forms.js";
import { ask, guarded, nameIn, on, openPage, poll, save, say } from "../page.js";

const POLL = 3000; // milliseconds

/** @type {any} */
const known = { drills: [], contacts: [], stages: new Map(), report: null };
/** @type {string|null} */
let chosen = new URLSearchParams(location.hash.slice(1)).get("drill");
/** @type {{ id: string, box: HTMLInputElement }[]} */
let people = [];

async function load() {
  const { drills } = await ask("GET", "api/v1/drills");
  known.drills = drills;
  if (chosen && !(known.report?.drillId === chosen && known.report.endedAt)) {
    known.report = await ask("GET", `api/v1/drills/${encodeURIComponent(chosen)}`);
  }
  show();
}

function show() {
  const lines = known.drills.map((/** @type {any} */ drill) => [
    button(drill.title, () => choose(drill.drillId), "plain"),
    formatDayTime(new Date(drill.startedAt)),
    drill.startedBy,
    el("span", { class: drill.endedAt ? "" : "is-running" }, drill.endedAt ? t("drillEnded") : `▶ ${t("drillRunning")}`),
  ]);
  keepFocus(byId("drill-list"), () => byId("drill-list").replaceChildren(table(["drillName", "startedAt", "person", "deliveryState"].map((key) => t(key)), lines, t("none"))));
  if (known.report) showReport(known.report);
}

/** @param {string} id */
function choose(id) {
  void guarded(async () => {
    chosen = id;
    known.report = null;
    history.replaceState(null, "", `#${new URLSearchParams({ drill: id })}`);
    await load();
    byId("watch").focus();
  });
}

/** @param {any} report */
function showReport(report) {
  byId("watch").hidden = false;
  setText(byId("watch-title"), report.title);
  const names = new Map(known.contacts.map((/** @type {any} */ one) => [one.id, one.name]));
  const told = [...report.contacts.map((/** @type {string} */ id) => names.get(id) ?? id), ...report.recipients];
  const facts = [
    [t("startedAt"), `${formatFull(new Date(report.startedAt))}（${report.startedBy}）`],
    [t("endedAt"), report.endedAt ? formatFull(new Date(report.endedAt)) : t("drillRunning")],
    [t("toldTo"), told.join("、") || t("nobodyChosen")],
  ];
  if (report.from) facts.push([t("recordOf"), `${formatDayTime(new Date(report.from))} ～ ${formatDayTime(new Date(report.to))}（×${report.speed}）`]);
  const list = el("dl", {}, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  byId("watch-facts").replaceChildren(list, ...progress(report));
  showActions(report);
  showStations(report);
  byId("answers").replaceChildren(table(["station", "stage", "person", "answerTime"].map((key) => t(key)), report.answers.map((/** @type {any} */ one) => answerLine(one, report)), t("none")));
  byId("notices").replaceChildren(table(["person", "channel", "whatTold", "deliveryState", "time"].map((key) => t(key)), report.notices.map((/** @type {any} */ one) => noticeLine(one, names)), t("noneTold")));
  byId("steps").replaceChildren(table(["time", "station", "what", "stage", "value", "person"].map((key) => t(key)), report.steps.map(stepLine), t("none")));
}

/** @param {any} report */
function progress(report) {
  if (!report.from || report.endedAt) return [];
  const [from, to, at] = [report.from, report.to, report.position ?? report.from].map((text) => new Date(text).getTime());
  const bar = el("progress", { class: "progress", max: to - from, value: at - from, "aria-label": t("drillProgress") });
  return [bar, el("p", { class: "soft" }, t("drillAt", { time: formatDayTime(new Date(at)) }))];
}

/** @param {any} report */
function showActions(report) {
  const address = new URL("alarms", document.baseURI);
  address.searchParams.set("tenant", report.tenant);
  const parts = [el("a", { href: address.href }, t("drillAlarms"))];
  if (!report.endedAt) parts.push(/** @type {any} */ (button(t("endDrill"), () => end(report), "danger")));
  parts.push(/** @type {any} */ (button(t("print"), () => window.print())));
  parts.push(/** @type {any} */ (button(t("saveReport"), () => save(`${report.drillId}.json`, JSON.stringify(report, null, 2), "application/json"))));
  keepFocus(byId("watch-actions"), () => byId("watch-actions").replaceChildren(...parts));
}

/** @param {any} report */
function showStations(report) {
  byId("inject").hidden = Boolean(report.endedAt);
  const place = byId("inject-station");
  const options = report.stations.map((/** @type {any} */ one) => [one.entityId, one.attribute]);
  if (place.options.length === options.length) return;
  place.replaceChildren(...options.map(([id, attribute]) => el("option", { value: `${id}\n${attribute}` }, `${id.replace("urn:ngsi-ld:", "")}（${attribute.split(/[/#]/).pop()}）`)));
}

/** @param {any} one @param {any} report */
function answerLine(one, report) {
  const step = report.steps.find((/** @type {any} */ other) => other.alarmId === one.alarmId);
  const seconds = one.seconds === null ? el("span", { class: "is-wrong" }, `✕ ${t("noAnswer")}`) : `✓ ${formatDuration(one.seconds)}`;
  return [nameIn(step?.stationName), stageName(stageOf(one.stage, known.stages)), one.by ?? "", seconds];
}

/** @param {any} one @param {Map<string, string>} names */
function noticeLine(one, names) {
  const state = one.state === "failed" ? el("span", { class: "is-wrong" }, `✕ ${t("delivery_failed")} ${one.error ?? ""}`) : t(`delivery_${one.state}`);
  return [names.get(one.contactId) ?? one.contactId, `${t(`channel_${one.channel}`)} ${one.address}`, t(`step_${one.kind}`), state, formatFull(new Date(one.finishedAt ?? one.createdAt))];
}

/** @param {any} step */
function stepLine(step) {
  const value = step.value === null || step.value === undefined ? "" : String(step.value);
  const stage = stageName(stageOf(step.stage, known.stages));
  return [formatFull(new Date(step.at)), nameIn(step.stationName), t(`step_${step.kind}`), stage, value, [step.by, step.reason].filter(Boolean).join("：")];
}

/** @param {any} report */
function end(report) {
  if (!confirm(t("confirmEnd", { name: report.title }))) return;
  void guarded(async () => {
    await ask("POST", `api/v1/drills/${encodeURIComponent(report.drillId)}/end`, {});
    say(t("drillIsOver"));
    known.report = null;
    await load();
  });
}

/** @param {string} id */
function linesOf(id) {
  return byId(id).value.split("\n").map((/** @type {string} */ one) => one.trim()).filter(Boolean);
}

async function start() {
  const isRecord = byId("start").elements.kind.value === "record";
  const span = isRecord ? { from: hubTime(byId("from").value), to: hubTime(byId("to").value), speed: Number(byId("speed").value) } : {};
  remember(byId("by").value.trim());
  const plan = compact({ title: byId("title").value.trim(), by: byId("by").value.trim(), ...span });
  const contacts = people.filter(({ box }) => box.checked).map(({ id }) => id);
  const drill = await ask("POST", "api/v1/drills", { ...plan, contacts, recipients: linesOf("recipients"), entityIds: linesOf("stations") });
  say(t("drillBegun", { name: drill.title }));
  choose(drill.drillId);
}

await openPage("drillsTitle", show);
byId("by").value = remembered();
for (const radio of byId("start").elements.kind) {
  radio.addEventListener("change", () => {
    const isRecord = byId("start").elements.kind.value === "record";
    byId("record").hidden = !isRecord;
    for (const id of ["from", "to"]) byId(id).required = isRecord;
  });
}
on("start", "submit", start);
on("inject", "submit", async () => {
  const [entityId, attribute] = byId("inject-station").value.split("\n");
  const value = Number(byId("inject-value").value);
  await ask("POST", `api/v1/drills/${encodeURIComponent(chosen ?? "")}/values`, { entityId, attribute, value });
  say(t("injected", { value }));
});
await guarded(async () => {
  const [stations, contacts] = await Promise.all([ask("GET", "api/v1/stations"), ask("GET", "api/v1/contacts")]);
  known.stages = new Map(stations.stages.map((/** @type {any} */ one) => [one.code, one]));
  known.contacts = contacts.contacts;
  people = known.contacts.map((/** @type {any} */ one) => ({ id: one.id, ...check(one.name, false) }));
  byId("who").replaceChildren(...people.map((/** @type {any} */ one) => one.label));
  if (people.length === 0) byId("who").append(el("p", { class: "hint" }, t("none")));
});
poll(POLL, load, (isThere) => {
  byId("lost").hidden = isThere;
  if (!isThere) setText(byId("lost"), t("unreachable"));
});
