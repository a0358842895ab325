// SPDX-License-Identifier: Apache-2.0
// One device: what is known of it, how it connects, and what a message of it would become.

import { byId, el, setText } from "../app/dom.js";
import { t } from "../app/i18n.js";
import { batteryText, stateOf, timeText } from "./list.js";

/** @param {any} device */
export function showDevice(device) {
  byId("chosen").hidden = false;
  setText(byId("chosen-title"), `${device.id}  ${device.name === device.id ? "" : device.name}`.trim());
  const { status } = device;
  const facts = [
    [t("state"), stateOf(device)],
    [t("maintenanceReason"), status.maintenance?.reason],
    [t("lastSeen"), timeText(status.lastSeenAt)],
    [t("battery"), batteryText(status.batteryLevel)],
    [t("signal"), typeof status.rssi === "number" ? `${status.rssi} dBm` : null],
    [t("station"), device.entityId],
    [t("model"), device.model ?? t("noModel")],
    [t("credential"), t(`credential_${device.credential.state}`)],
    [t("serial"), device.serialNumber],
    [t("owner"), device.owner],
    [t("notes"), device.notes],
  ];
  byId("facts").replaceChildren(describe(facts));
  setText(byId("maintain"), t(status.maintenance ? "maintainEnd" : "maintainStart"));
  const retired = status.state === "retired";
  byId("new-password").disabled = retired;
  byId("revoke").disabled = device.credential.state !== "active";
}

/** @param {[string, any][]} facts */
export function describe(facts) {
  const given = facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", {}, ...given.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

/**
 * The password, once, and how to send with it.
 * @param {any} device
 * @param {any} mqtt
 */
export function showAccess(device, mqtt) {
  const broker = new URL(mqtt.url ?? `mqtt://${location.hostname}:1883`);
  const port = broker.port || (broker.protocol === "mqtts:" ? "8883" : "1883");
  const host = broker.hostname;
  const tls = broker.protocol === "mqtts:" ? " --tls-use-os-certs" : "";
  const moment = '$(date +%Y-%m-%dT%H:%M:%S%z)';
  const { attributes, format } = device.effective ?? device;
  const field = attributes?.[0]?.field ?? "level";
  const body = format ? "'...'" : `"{\\"time\\": \\"${moment}\\", \\"${field}\\": 1.23}"`;
  const readings = new URL(`api/v1/readings/${encodeURIComponent(mqtt.username)}`, document.baseURI);
  const example = [
    "# MQTT",
    `mosquitto_pub -h ${host} -p ${port}${tls} -u ${mqtt.username} -P '${mqtt.password}' -q 1 \\`,
    `  -t ${mqtt.topic} -m ${body}`,
    "",
    "# HTTP",
    `curl -u ${mqtt.username}:'${mqtt.password}' -H 'Content-Type: application/json' \\`,
    `  -d ${body} ${readings}`,
  ].join("\n");
  const facts = [
    [t("device"), device.id],
    [t("broker"), `${broker.protocol}//${host}:${port}`],
    [t("username"), el("code", {}, mqtt.username)],
    [t("password"), el("code", { id: "password" }, mqtt.password)],
    [t("topic"), el("code", {}, mqtt.topic)],
  ];
  byId("access-facts").replaceChildren(...describe(facts).childNodes);
  setText(byId("example"), example);
  setText(byId("copy"), t("copy"));
  byId("access").hidden = false;
  byId("access").focus();
}

export function hideAccess() {
  byId("access").hidden = true;
  byId("access-facts").replaceChildren();
  setText(byId("example"), "");
}

/** @param {any} found  the hub's answer about a frame */
export function showDecode(found) {
  const parts = [];
  if (found.fault) {
    const text = `${t("decodeFault", { reason: found.fault.reason })}\n${found.fault.detail}`;
    parts.push(el("p", { class: "fault" }, text));
  }
  parts.push(el("h3", {}, t("decodeStored")));
  if (found.stored.length === 0) parts.push(el("p", {}, t("decodeNothing")));
  else {
    const rows = found.stored.map((entry) => [
      entry.field,
      entry.attribute.split(/[/#]/).pop(),
      `${typeof entry.value === "object" ? JSON.stringify(entry.value) : entry.value} ${entry.unitCode ?? ""}`.trim(),
      timeText(entry.observedAt),
      entry.entityId,
    ]);
    parts.push(table([t("field"), t("attribute"), t("value"), t("observedAt"), t("station")], rows));
  }
  if (found.missing.length > 0) {
    const rows = found.missing.map((entry) => [entry.field, entry.reason]);
    parts.push(el("h3", {}, t("decodeMissing")), table([t("field"), t("reason")], rows));
  }
  byId("decode").replaceChildren(...parts);
}

/** @param {string[]} names @param {string[][]} rows */
function table(names, rows) {
  const head = el("thead", {}, el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, name))));
  const cells = rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell))));
  return el("table", {}, head, el("tbody", {}, ...cells));
}
