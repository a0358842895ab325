// SPDX-License-Identifier: Apache-2.0
// Messages that could not be taken: which, why, what came, what mends it, and trying again.

import { byId, el, setAttribute, setText } from "../../app/dom.js";
import { t } from "../../app/i18n.js";
import { pathOf } from "../../devices/hub.js";
import { ask, guarded, on, openPage, say } from "../page.js";
import { decodeView, hexDump, reasonText, timeText } from "./decode.js";
import { readRegistration } from "./registration.js";

const PAGE = 100; // messages
const REASONS = [
  "unknown_device", "unknown_topic", "too_large", "undecodable", "no_mapped_quantity", "wrong_type", "wrong_unit",
  "out_of_range", "in_the_future", "too_old", "not_in_service", "refused_by_store",
];
const TOLD = new Set([
  "id", "key", "effective", "status", "credential", "maintenance", "service", "mqtt", "createdAt", "modifiedAt",
]);
const STATE_MARKS = { held: "■", replayed: "✓", dropped: "–" };

const shown = { groups: [], messages: [], isMore: false };
let chosen = null;
let device = null;
let decoded = null;
let kind = "hex";

/** What the filter says, as parameters of the hub. */
function filter() {
  const wanted = new URLSearchParams();
  const put = (name, value) => value && wanted.set(name, value);
  put("reason", byId("filter-reason").value);
  put("device", byId("filter-device").value.trim());
  put("text", byId("filter-text").value.trim());
  for (const [name, id] of [["from", "filter-from"], ["to", "filter-to"]])
    put(name, byId(id).value && new Date(byId(id).value).toISOString());
  return wanted;
}

async function load() {
  const wanted = filter();
  wanted.set("state", byId("filter-state").value);
  wanted.set("limit", String(PAGE));
  const [summary, page] = await Promise.all([
    ask("GET", "api/v1/quarantine/summary"),
    ask("GET", `api/v1/quarantine?${wanted}`),
  ]);
  Object.assign(shown, { groups: summary.groups, messages: page.messages, isMore: page.messages.length === PAGE });
  showLists();
}

async function loadMore() {
  const wanted = filter();
  wanted.set("state", byId("filter-state").value);
  wanted.set("limit", String(PAGE));
  wanted.set("before", String(shown.messages.at(-1)?.id ?? 0));
  const page = await ask("GET", `api/v1/quarantine?${wanted}`);
  shown.messages.push(...page.messages);
  shown.isMore = page.messages.length === PAGE;
  showLists();
}

function showLists() {
  const names = ["deviceKey", "reason", "countHeld", "first", "last"];
  const head = el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, t(name))));
  const rows = shown.groups.map((group) => {
    const choose = el("button", { type: "button", class: "plain" }, group.deviceKey ?? t("noDevice"));
    choose.addEventListener("click", () => narrow(group));
    const cells = [reasonText(group.reason), String(group.count), timeText(group.first), timeText(group.last)];
    const tell = (/** @type {string} */ cell, /** @type {number} */ at) => el("td", { "data-head": t(names[at + 1]) }, cell);
    return el("tr", {}, el("th", { scope: "row" }, choose), ...cells.map(tell));
  });
  if (rows.length === 0) byId("groups").replaceChildren(el("p", {}, t("nothingHeld")));
  else byId("groups").replaceChildren(el("table", { class: "cards" }, el("thead", {}, head), el("tbody", {}, ...rows)));
  setText(byId("count"), t(shown.isMore ? "countMore" : "count", { n: shown.messages.length }));
  byId("more").hidden = !shown.isMore;
  byId("list").replaceChildren(...shown.messages.map(row));
  if (shown.messages.length === 0) byId("list").replaceChildren(el("tr", {}, el("td", { colspan: "6" }, t("none"))));
}

/** @param {any} message */
function row(message) {
  const choose = el("button", { type: "button", class: "plain", "data-message": String(message.id) }, `${message.id}`);
  choose.addEventListener("click", () => void guarded(() => open(message.id)));
  const line = el(
    "tr",
    {},
    el("th", { scope: "row" }, choose),
    el("td", {}, timeText(message.receivedAt)),
    el("td", {}, message.deviceKey ?? t("noDevice")),
    el("td", {}, reasonText(message.reason)),
    el("td", { class: "detail" }, message.detail),
    el("td", {}, `${STATE_MARKS[message.state]} ${t(`state_${message.state}`)}`),
  );
  setAttribute(line, "aria-current", message.id === chosen?.id ? "true" : null);
  return line;
}

/** Shows the messages of a group only. @param {any} group */
function narrow(group) {
  byId("filter-state").value = "held";
  byId("filter-reason").value = group.reason;
  byId("filter-device").value = group.deviceKey ?? "";
  void guarded(async () => {
    await load();
    byId("messages").focus();
  });
}

/** @param {number} id */
async function open(id) {
  chosen = await ask("GET", `api/v1/quarantine/${id}`);
  device = chosen.deviceId ? await ask("GET", pathOf(chosen.deviceId)) : null;
  decoded = await ask("POST", `api/v1/quarantine/${id}/decode`, {});
  kind = chosen.payloadText === null ? "hex" : "text";
  byId("registration").value = JSON.stringify(device ? ownMembers(device) : newDevice(chosen), null, 2);
  byId("new-id").value = device ? device.id : (chosen.deviceKey ?? "");
  showChosen();
  showLists();
  byId("chosen").focus();
}

/** What a person may change of a registration. @param {any} given */
function ownMembers(given) {
  return Object.fromEntries(Object.entries(given).filter(([name, value]) => !TOLD.has(name) && value !== null));
}

/** @param {any} message */
function newDevice(message) {
  return { entityId: `urn:ngsi-ld:WaterObserved:${message.deviceKey ?? "..."}`, model: "level-gauge-json" };
}

function showChosen() {
  byId("chosen").hidden = !chosen;
  if (!chosen) return;
  setText(byId("chosen-title"), t("chosenTitle", { id: chosen.id, topic: chosen.topic }));
  setText(byId("wrong"), `✕ ${reasonText(chosen.reason)}\n${chosen.detail}`);
  const facts = { n: chosen.size, time: timeText(chosen.receivedAt), tries: chosen.attempts };
  setText(byId("frame-size"), t("frameSize", facts));
  byId("decode").replaceChildren(...decodeView(decoded));
  const isInbox = chosen.topic.startsWith("notified/");
  byId("mend").hidden = isInbox;
  setText(byId("mend-title"), t(device ? "mendTitle" : "registerTitle", { id: device?.id ?? "" }));
  byId("new-id-label").hidden = device !== null;
  for (const id of ["replay-one", "replay-device", "drop"]) byId(id).disabled = chosen.state !== "held";
  byId("replay-device").hidden = chosen.deviceKey === null;
  showFrame();
}

function showFrame() {
  const kinds = [["hex", t("asHex")], ["text", t("asText")], ["base64", t("asBase64")]];
  const buttons = kinds.map(([name, label]) => {
    const isOff = name === "text" && chosen.payloadText === null;
    const button = el("button", { type: "button", "aria-pressed": String(kind === name), disabled: isOff }, label);
    button.addEventListener("click", () => {
      kind = name;
      showFrame();
      byId("frame-kinds").querySelector("[aria-pressed=true]")?.focus();
    });
    return button;
  });
  byId("frame-kinds").replaceChildren(...buttons);
  const bytes = chosen.payloadBase64;
  const text = kind === "hex" ? hexDump(bytes) : kind === "text" ? pretty(chosen.payloadText) : bytes;
  setText(byId("frame"), text || t("empty"));
  byId("frame").classList.toggle("is-text", kind !== "hex");
}

/** JSON with line breaks; other text as it is. @param {string} text */
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

async function tryIt() {
  decoded = await ask("POST", `api/v1/quarantine/${chosen.id}/decode`, { device: readRegistration() ?? {} });
  byId("decode").replaceChildren(...decodeView(decoded));
  say(t(decoded.fault ? "triedBad" : "triedGood"));
}

async function saveRegistration() {
  const id = device ? device.id : byId("new-id").value.trim();
  if (!id) throw new Error(t("needsId"));
  const answer = await ask("PUT", pathOf(id), readRegistration() ?? {});
  device = await ask("GET", pathOf(id));
  chosen = await ask("GET", `api/v1/quarantine/${chosen.id}`);
  decoded = await ask("POST", `api/v1/quarantine/${chosen.id}/decode`, {});
  showChosen();
  say(answer.mqtt ? t("savedNew", { id, password: answer.mqtt.password }) : t("saved", { id }));
}

/** @param {any} answer */
async function afterReplay(answer) {
  say(t("replayed", { stored: answer.stored, held: answer.stillHeld }));
  if (chosen) {
    chosen = await ask("GET", `api/v1/quarantine/${chosen.id}`);
    showChosen();
  }
  await load();
}

/** All that are held as `wanted` says, in as many requests as it takes. @param {URLSearchParams} wanted */
async function replayAll(wanted) {
  const total = { stored: 0, stillHeld: 0 };
  for (let after = 0; after !== undefined; ) {
    wanted.set("after", String(after));
    const answer = await ask("POST", `api/v1/quarantine/replay?${wanted}`);
    total.stored += answer.stored;
    total.stillHeld += answer.stillHeld;
    after = answer.last;
  }
  await afterReplay(total);
}

function redraw() {
  fillReasons();
  showLists();
  showChosen();
}

function fillReasons() {
  const value = byId("filter-reason").value;
  const options = REASONS.map((reason) => el("option", { value: reason }, reasonText(reason)));
  byId("filter-reason").replaceChildren(el("option", { value: "" }, t("anyReason")), ...options);
  byId("filter-reason").value = value;
}

await openPage("quarantineTitle", redraw, new URL("i18n/", import.meta.url));
fillReasons();
on("filter", "submit", load);
on("more", "click", loadMore);
on("try", "click", tryIt);
on("mend", "submit", saveRegistration);
on("replay-one", "click", async () => afterReplay(await ask("POST", `api/v1/quarantine/${chosen.id}/replay`)));
on("replay-device", "click", () => replayAll(new URLSearchParams({ device: chosen.deviceKey })));
on("replay-all", "click", async () => {
  if (confirm(t("confirmReplayAll"))) await replayAll(filter());
});
on("drop", "click", async () => {
  if (!confirm(t("confirmDrop", { id: chosen.id }))) return;
  await ask("DELETE", `api/v1/quarantine/${chosen.id}`);
  say(t("dropped", { id: chosen.id }));
  chosen = null;
  showChosen();
  await load();
});
await guarded(load);
