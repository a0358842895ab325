// SPDX-License-Identifier: Apache-2.0
// Documents of others that are fetched on a schedule: how each goes, why one fails, fetching now, pausing, changing.

import { byId, el, setText } from "../../app/dom.js";
import { formatFull } from "../../app/format.js";
import { t } from "../../app/i18n.js";
import { button, keepFocus, table } from "../forms.js";
import { ask, guarded, on, openPage, poll as keepAsking, say } from "../page.js";

const PAUSE = 5000; // milliseconds
const SHOWN_ONLY = ["paused", "nextDueAt", "createdAt", "modifiedAt", "state", "id"];
const MARKS = { taken: "✓", unchanged: "✓", failed: "✕", never: "–", paused: "⏸" };
const NEW = { url: "https://", interval: 300, format: { records: "stations", station: "id" } };

/** @type {any[]} */
let polls = [];
/** @type {string|null} */
let chosen = new URLSearchParams(location.hash.slice(1)).get("poll");

/** @param {string} id @param {...string} more */
function pathOf(id, ...more) {
  return ["api/v1/polls", encodeURIComponent(id), ...more].join("/");
}

async function load() {
  polls = (await ask("GET", "api/v1/polls")).polls;
  show();
}

function show() {
  const heads = ["document", "outcome", "lastSuccess", "nextDue", "reason"].map((key) => t(key));
  const lines = polls.map((one) => [
    button(one.name ?? one.id, () => choose(one.id), "plain"),
    outcome(one),
    time(one.state.lastSuccessAt),
    one.paused ? "–" : time(one.nextDueAt),
    one.state.error ?? "",
  ]);
  const list = byId("poll-list");
  keepFocus(list, () => list.replaceChildren(table(heads, lines, t("noPolls"))));
  showChosen();
}

/** @param {any} one */
function outcome(one) {
  const kind = one.paused ? "paused" : (one.state.outcome ?? "never");
  const words = `${MARKS[kind]} ${t(`outcome_${kind}`, { n: one.state.failures ?? 0 })}`;
  return el("span", { class: kind === "failed" ? "is-wrong" : "" }, words);
}

/** @param {string|null|undefined} text */
function time(text) {
  return text ? formatFull(new Date(text)) : "–";
}

function showChosen() {
  const one = polls.find(({ id }) => id === chosen);
  byId("chosen").hidden = !one;
  if (!one) return;
  setText(byId("chosen-title"), one.name ?? one.id);
  const state = one.state;
  const facts = [
    ["id", one.id],
    ["address", one.url],
    ["interval", t("seconds", { n: one.interval })],
    ["outcome", outcome(one)],
    ["lastAttempt", time(state.lastAttemptAt)],
    ["lastSuccess", time(state.lastSuccessAt)],
    ["lastChange", time(state.lastChangeAt)],
    ["nextDue", one.paused ? "–" : time(one.nextDueAt)],
    ["counts", counts(state)],
    ["sentAlong", Object.keys(one.headers).join(", ") || "–"],
    ["notes", one.notes ?? "–"],
  ];
  byId("how").replaceChildren(
    el("dl", {}, ...facts.flatMap(([key, value]) => [el("dt", {}, t(key)), el("dd", {}, value)])),
    ...fault(state),
  );
  const actions = [
    button(t("runNow"), () => void guarded(() => run(one))),
    button(t(one.paused ? "resume" : "pause"), () => void guarded(() => stop(one))),
    button(t("change"), () => edit(one)),
    button(t("delete"), () => void guarded(() => remove(one)), "danger"),
  ];
  keepFocus(byId("actions"), () => byId("actions").replaceChildren(...actions));
  byId("stations").replaceChildren(...unregistered(state));
}

/** @param {any} state */
function counts(state) {
  return state.records === undefined ? "–" : t("countsOf", state);
}

/** What went wrong, and the beginning of what came in place of data. @param {any} state */
function fault(state) {
  if (!state.error) return [];
  const status = state.httpStatus ? ` (HTTP ${state.httpStatus})` : "";
  const parts = [el("p", { class: "is-wrong", id: "why" }, `✕ ${state.error}${status}`)];
  if (state.excerpt) parts.push(el("h3", {}, t("excerpt")), el("pre", { tabindex: "0" }, state.excerpt));
  return parts;
}

/** @param {any} state */
function unregistered(state) {
  if (!state.unregisteredCount) return [];
  const lines = state.unregistered.map((/** @type {any} */ one) => [one.station || "–", el("code", {}, one.address)]);
  return [
    el("h3", {}, t("unregistered", { n: state.unregisteredCount })),
    el("p", { class: "hint" }, t("unregisteredHint")),
    table([t("station"), t("deviceAddress")], lines, t("none")),
    el("h3", {}, t("sample")),
    el("pre", { tabindex: "0" }, JSON.stringify(state.sample, null, 2)),
  ];
}

/** @param {string} id */
function choose(id) {
  chosen = id;
  history.replaceState(null, "", `#${new URLSearchParams({ poll: id })}`);
  show();
  byId("chosen").focus();
}

/** @param {any} one */
async function run(one) {
  say(t("fetching"));
  try {
    const { state } = await ask("POST", pathOf(one.id, "run"));
    say(state.outcome === "failed" ? "" : t("fetched", { stored: state.stored ?? 0 }));
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    say(t("stillFetching")); // the hub goes on, and the list will tell
  }
  await load();
}

/** @param {any} one */
async function stop(one) {
  await ask("POST", pathOf(one.id, one.paused ? "resume" : "pause"));
  say(t(one.paused ? "resumed" : "isPaused", { name: one.name ?? one.id }));
  await load();
}

/** @param {any} one */
async function remove(one) {
  if (!confirm(t("confirmDelete", { name: one.name ?? one.id }))) return;
  await ask("DELETE", pathOf(one.id));
  say(t("deleted", { name: one.name ?? one.id }));
  byId("editor").hidden = true;
  await load();
}

/** @param {any} one  null: a new one */
function edit(one) {
  const own = one ? Object.fromEntries(Object.entries(one).filter(([name]) => !SHOWN_ONLY.includes(name))) : NEW;
  byId("definition").value = JSON.stringify(own, null, 2);
  byId("new-id").value = one?.id ?? "";
  byId("new-id-label").hidden = one !== null;
  byId("preview").replaceChildren();
  setText(byId("editor-title"), one ? t("changeOf", { name: one.name ?? one.id }) : t("newPoll"));
  byId("editor").hidden = false;
  byId("editor").focus();
}

function definition() {
  const id = byId("new-id").value.trim();
  if (!id) throw new Error(t("needsId"));
  try {
    return { id, document: JSON.parse(byId("definition").value) };
  } catch (error) {
    throw new Error(t("notJson", { why: error instanceof Error ? error.message : "" }));
  }
}

async function tryIt() {
  const { id, document } = definition();
  const found = await ask("POST", pathOf(id, "preview"), document);
  const lines = found.first.map((/** @type {any} */ one) => [
    one.station || "–",
    el("code", {}, one.address),
    one.device ?? t("notRegistered"),
    el("pre", {}, JSON.stringify(one.record, null, 1)),
  ]);
  byId("preview").replaceChildren(
    el("p", {}, t("previewOf", found)),
    table([t("station"), t("deviceAddress"), t("deviceOne"), t("record")], lines, t("none")),
  );
}

async function keep() {
  const { id, document } = definition();
  await ask("PUT", pathOf(id), document);
  say(t("kept", { name: document.name ?? id }));
  byId("editor").hidden = true;
  await load();
  choose(id);
}

await openPage("pollsTitle", show, new URL("i18n/", import.meta.url));
on("new-poll", "click", async () => edit(null));
on("try", "click", tryIt);
on("edit", "submit", keep);
keepAsking(PAUSE, load, (isThere) => {
  byId("lost").hidden = isThere;
  if (!isThere) setText(byId("lost"), t("unreachable"));
});
