// SPDX-License-Identifier: Apache-2.0
// Send a frame, see the decode: with a registered device, a model, or a registration that is only tried out.

import { byId, el } from "../../app/dom.js";
import { t } from "../../app/i18n.js";
import { pathOf } from "../../devices/hub.js";
import { ask, guarded, on, openPage } from "../page.js";
import { decodeView } from "./decode.js";
import { readRegistration } from "./registration.js";

let models = [];
let devices = [];
let found = null;

function showChoices() {
  const option = (value, text) => el("option", { value }, text);
  const chosen = byId("as").value;
  byId("as").replaceChildren(
    option("", t("asNothing")),
    el(
      "optgroup",
      { label: t("asDevice") },
      ...devices.map((one) => option(`device:${one.id}`, one.name === one.id ? one.id : `${one.id}  ${one.name}`)),
    ),
    el("optgroup", { label: t("asModel") }, ...models.map((one) => option(`model:${one.id}`, one.name))),
  );
  byId("as").value = chosen;
}

function redraw() {
  showChoices();
  if (found) byId("decode").replaceChildren(...decodeView(found));
}

async function send() {
  const [kind, id] = byId("as").value.split(/:(.*)/s);
  const way = byId("kind").value;
  const frame = byId("frame").value;
  const body = { [way]: way === "payloadText" ? frame : frame.replace(/\s+/g, "") };
  if (byId("topic").value.trim()) body.topic = byId("topic").value.trim();
  const registration = readRegistration();
  if (registration || kind === "model") body.device = { ...(kind === "model" ? { model: id } : {}), ...registration };
  found = await ask("POST", kind === "device" ? pathOf(id, "decode") : "api/v1/decode", body);
  byId("decode").replaceChildren(...decodeView(found));
  byId("result").hidden = false;
  byId("result").focus();
}

await openPage("framesTitle", redraw, new URL("i18n/", import.meta.url));
on("send", "submit", send);
await guarded(async () => {
  models = (await ask("GET", "api/v1/device-models")).models;
  devices = (await ask("GET", "api/v1/devices?limit=1000")).devices;
  showChoices();
  const asked = new URLSearchParams(location.search).get("device");
  if (asked) byId("as").value = `device:${asked}`;
});
