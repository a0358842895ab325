// SPDX-License-Identifier: Apache-2.0
// Contacts: the list, and the form of one with its channels and quiet times.

import { el } from "../../app/dom.js";
import { formatDayTime } from "../../app/format.js";
import { t } from "../../app/i18n.js";
import { button, check, compact, field, rows, select, table } from "../forms.js";
import { isOutOfReach } from "./model.js";

const CHANNELS = ["mail", "line", "sms", "slack", "teams", "webhook", "mqtt"];
const PLACEHOLDERS = {
  mail: "duty@city.example.jp",
  line: "U0123456789abcdef0123456789abcdef",
  sms: "+819012345678",
  slack: "https://hooks.slack.com/...",
  teams: "https://...",
  webhook: "https://...",
  mqtt: "mqtts://user@host/topic",
};

/**
 * @param {any} known @param {{ edit: (id: string) => void, test: (id: string) => void }} actions
 */
export function peopleTable(known, actions) {
  const lines = known.contacts.map((/** @type {any} */ contact) => {
    const browsers = known.browsers.get(contact.id) ?? [];
    const channels = (contact.channels ?? []).map((/** @type {any} */ one) => t(`channel_${one.type}`));
    if (browsers.length) channels.push(`${t("channel_webpush")} ×${browsers.length}`);
    const notes = [];
    if (contact.enabled === false) notes.push(t("off"));
    for (const quiet of contact.quiet ?? []) notes.push(t("quietNote", quiet));
    return [
      el("span", {}, button(contact.name, () => actions.edit(contact.id), "plain"), el("div", { class: "soft" }, contact.id)),
      known.languages.get(contact.language ?? "ja") ?? contact.language,
      isOutOfReach(contact, browsers) ? el("span", { class: "is-wrong" }, `✕ ${t("channel_none")}`) : channels.join("、"),
      notes.join("、"),
      button(t("sendTest"), () => actions.test(contact.id)),
    ];
  });
  return table(["name", "languageWord", "channel", "notes", "test"].map((key) => t(key)), lines, t("none"));
}

/**
 * The form of a contact.
 * @param {any} contact  or null for a new one
 * @param {any[]} browsers
 * @param {Map<string, string>} languages  names by code
 * @param {(browserId: string) => void} endBrowser
 */
export function contactForm(contact, browsers, languages, endBrowser) {
  const id = idField(contact);
  const name = el("input", { required: true, maxlength: 200, value: contact?.name ?? "", autocomplete: "off" });
  const language = select([...languages], contact?.language ?? "ja");
  const enabled = check(t("enabled"), contact?.enabled !== false);
  const digest = el("input", { type: "number", min: 1, max: 1000, value: contact?.digestAbove ?? 10 });
  const channels = rows(t("channels"), t("moreChannel"), channelRow, contact?.channels ?? [], { type: "mail", address: "" });
  const quiet = rows(t("quietTitle"), t("moreQuiet"), quietRow, contact?.quiet ?? [], { from: "22:00", until: "06:00" });
  const enrolled = browsers.map((one) =>
    el(
      "div",
      { class: "row" },
      el("span", {}, `${one.label || "?"}（${one.service}、${formatDayTime(new Date(one.enrolledAt))}）`),
      button(t("endBrowser"), () => endBrowser(one.browserId)),
    ),
  );
  return {
    nodes: [
      field(t("id"), id),
      field(t("name"), name),
      field(t("languageOf"), language),
      channels.node,
      browsers.length ? el("fieldset", { class: "sub" }, el("legend", {}, t("channel_webpush")), ...enrolled) : null,
      quiet.node,
      el("p", { class: "hint" }, t("quietHint")),
      field(t("digestAbove"), digest),
      enabled.label,
    ],
    read: () => ({
      id: id.value.trim(),
      document: {
        name: name.value.trim(),
        language: language.value,
        channels: channels.read(),
        quiet: quiet.read(),
        digestAbove: Number(digest.value),
        enabled: enabled.box.checked,
        ...(contact?.timeZone ? { timeZone: contact.timeZone } : {}),
      },
    }),
  };
}

/** @param {any} one  what is edited, or null */
export function idField(one) {
  return el("input", {
    required: true,
    pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]{0,99}",
    value: one?.id ?? "",
    readonly: Boolean(one),
    autocomplete: "off",
    spellcheck: "false",
  });
}

/** @param {any} channel @param {HTMLElement} remove */
function channelRow(channel, remove) {
  const type = select(CHANNELS.map((code) => [code, t(`channel_${code}`)]), channel.type);
  const address = el("input", { required: true, maxlength: 2000, value: channel.address, autocomplete: "off", spellcheck: "false" });
  const secret = el("input", { type: "password", maxlength: 256, autocomplete: "new-password", placeholder: channel.hasSecret ? t("secretKept") : "" });
  const secretField = field(t("secret"), secret, "wide");
  const follow = () => {
    secretField.hidden = !["webhook", "mqtt"].includes(type.value);
    address.placeholder = PLACEHOLDERS[/** @type {keyof typeof PLACEHOLDERS} */ (type.value)];
  };
  type.addEventListener("change", follow);
  follow();
  const node = el("div", { class: "line" }, field(t("channel"), type), field(t("address"), address), remove, secretField);
  return {
    node,
    read: () => {
      const isSame = channel.hasSecret && type.value === channel.type && address.value.trim() === channel.address;
      const kept = isSame && !secret.value ? { hasSecret: true } : {};
      return { ...compact({ type: type.value, address: address.value.trim(), secret: secretField.hidden ? "" : secret.value }), ...kept };
    },
  };
}

/** @param {any} quiet @param {HTMLElement} remove */
function quietRow(quiet, remove) {
  const from = el("input", { type: "time", required: true, value: quiet.from });
  const until = el("input", { type: "time", required: true, value: quiet.until });
  const node = el("div", { class: "line even" }, field(t("from"), from), field(t("until"), until), remove);
  return { node, read: () => ({ from: from.value, until: until.value }) };
}
