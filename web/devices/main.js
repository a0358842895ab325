// SPDX-License-Identifier: Apache-2.0
// Puts the page of devices together.

import { byId, setText } from "../app/dom.js";
import { t } from "../app/i18n.js";
import { ask, guarded, on, openPage, say, tell } from "../staff/page.js";
import { hideAccess, showAccess, showDecode, showDevice } from "./chosen.js";
import { createForm } from "./form.js";
import { pathOf } from "./hub.js";
import { showList } from "./list.js";

const PAGE = 200; // devices
const REFRESH = 10000; // milliseconds

const shown = { devices: [], next: null, chosen: null, limit: PAGE };
let detail = null;

async function load() {
  const query = new URLSearchParams({ limit: String(shown.limit) });
  if (byId("search").value.trim()) query.set("text", byId("search").value.trim());
  const answer = await ask("GET", `api/v1/devices?${query}`);
  Object.assign(shown, { devices: answer.devices, next: answer.next });
  showList(shown, choose);
}

/** @param {string} id */
function choose(id) {
  void guarded(async () => {
    if (id !== shown.chosen) byId("decode").replaceChildren();
    detail = await ask("GET", pathOf(id));
    shown.chosen = id;
    showDevice(detail);
    showList(shown, choose);
    byId("chosen").focus();
  });
}

/** @param {string} text  what was done */
async function afterChange(text) {
  say(text);
  await load();
  if (shown.chosen) {
    detail = await ask("GET", pathOf(shown.chosen));
    showDevice(detail);
  }
}

/** @param {any} form */
async function register(form) {
  const { id, document: registration } = form.read();
  const known = await exists(id);
  if (known && !confirm(t("confirmChange", { id }))) return;
  hideAccess();
  const answer = await ask("PUT", pathOf(id), registration);
  form.clear();
  await afterChange(t(known ? "changed" : "registered", { id }));
  if (answer.mqtt) showAccess(answer, answer.mqtt);
}

/** @param {string} id */
async function exists(id) {
  const query = new URLSearchParams({ text: id, limit: "10000" });
  return (await ask("GET", `api/v1/devices?${query}`)).devices.some((device) => device.id === id);
}

async function maintain() {
  const window_ = detail.status.maintenance;
  if (window_) {
    await ask("PATCH", pathOf(detail.id, "maintenance", window_.id), { until: new Date().toISOString() });
  } else {
    const reason = prompt(t("askReason"));
    if (!reason) return;
    await ask("POST", pathOf(detail.id, "maintenance"), { reason });
  }
  await afterChange(t("done", { id: detail.id }));
}

function bind(form) {
  on("register", "submit", () => register(form));
  on("new-password", "click", async () => {
    if (!confirm(t("confirmNew", { id: detail.id }))) return;
    const answer = await ask("PUT", pathOf(detail.id, "credential"), {});
    await afterChange("");
    showAccess(detail, answer.mqtt);
  });
  on("revoke", "click", async () => {
    if (!confirm(t("confirmRevoke", { id: detail.id }))) return;
    await ask("DELETE", pathOf(detail.id, "credential"));
    await afterChange(t("done", { id: detail.id }));
  });
  on("maintain", "click", maintain);
  on("try", "submit", async () => {
    const body = { [byId("kind").value]: byId("frame").value };
    showDecode(await ask("POST", pathOf(detail.id, "decode"), body));
  });
  on("search", "input", load);
  on("more", "click", async () => {
    shown.limit += PAGE;
    await load();
  });
  on("copy", "click", async () => {
    await navigator.clipboard.writeText(byId("example").textContent);
    setText(byId("copy"), t("copied"));
  });
}

await openPage(
  "title",
  () => {
    showList(shown, choose);
    if (detail) showDevice(detail);
  },
  new URL("i18n/", import.meta.url),
);
await guarded(async () => {
  const { models } = await ask("GET", "api/v1/device-models");
  bind(createForm(models));
  await load();
});
setInterval(() => {
  if (!document.hidden) void load().catch(() => tell(t("unreachable")));
}, REFRESH);
