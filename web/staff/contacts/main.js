// SPDX-License-Identifier: Apache-2.0
// Puts the page of contacts together: who is called now, lists, one form at a time, this browser, files.

import { byId, el, setText } from "../../app/dom.js";
import { t } from "../../app/i18n.js";
import { button } from "../forms.js";
import { ask, guarded, on, openPage, say, save, tell } from "../page.js";
import { groupForm, groupTable, planForm, planTable, whoIsCalled } from "./groups.js";
import { contactForm, peopleTable } from "./people.js";
import { createPush, showPush } from "./push.js";

/** @type {Record<string, { path: string, member: string, list: string, title: string }>} */
const KINDS = {
  contact: { path: "contacts", member: "contacts", list: "contacts", title: "contactOne" },
  group: { path: "contact-groups", member: "contactGroups", list: "groups", title: "groupOne" },
  plan: { path: "notification-plans", member: "notificationPlans", list: "plans", title: "planOne" },
};

/** @type {any} */
const known = { now: new Date(), contacts: [], groups: [], plans: [], browsers: new Map(), stages: [] };
/** What is in the form. @type {{ kind: string, id: string|null }|null} */
let editing = null;

async function load() {
  const [stations, languages, ...answers] = await Promise.all([
    ask("GET", "api/v1/stations"),
    ask("GET", "api/v1/languages"),
    ...Object.values(KINDS).map(({ path }) => ask("GET", `api/v1/${path}`)),
  ]);
  Object.values(KINDS).forEach(({ member, list }, index) => (known[list] = answers[index][member]));
  known.now = new Date(stations.generatedAt);
  known.stages = stations.stages;
  known.languages = new Map(languages.languages.map((/** @type {any} */ one) => [one.code, one.name]));
  known.stageByCode = new Map(stations.stages.map((/** @type {any} */ one) => [one.code, one]));
  known.contactById = byIdOf(known.contacts);
  known.groupById = byIdOf(known.groups);
  const browsers = await Promise.all(
    known.contacts.map(async (/** @type {any} */ one) => [one.id, (await ask("GET", `api/v1/contacts/${encodeURIComponent(one.id)}/browsers`)).browsers]),
  );
  known.browsers = new Map(/** @type {any} */ (browsers));
  show();
}

/** @param {any[]} documents */
function byIdOf(documents) {
  return new Map(documents.map((one) => [one.id, one]));
}

function show() {
  byId("now").replaceChildren(...whoIsCalled(known));
  byId("people-list").replaceChildren(peopleTable(known, { edit: (id) => edit("contact", id), test }));
  byId("group-list").replaceChildren(groupTable(known, (id) => edit("group", id)));
  byId("plan-list").replaceChildren(planTable(known, (id) => edit("plan", id)));
  showPush(known);
}

/** @param {string} id */
function test(id) {
  void guarded(async () => {
    const { notices } = await ask("POST", `api/v1/contacts/${encodeURIComponent(id)}/test`, {});
    say(t("testSent", { count: notices.length }));
  });
}

/** Opens the form. @param {string} kind @param {string|null} id */
function edit(kind, id) {
  editing = { kind, id };
  tell("");
  const document_ = id === null ? null : known[KINDS[kind].list].find((/** @type {any} */ one) => one.id === id);
  const { nodes, read } = formOf(kind, document_);
  const form = el("form", { id: "edit" }, ...nodes.filter(Boolean));
  const actions = el("div", { class: "actions" }, el("button", { type: "submit" }, t("keep")), button(t("alarmCancel"), close));
  if (document_) actions.append(button(t("delete"), () => remove(kind, document_), "danger"));
  form.append(actions);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void guarded(() => put(kind, read()));
  });
  setText(byId("editor-title"), `${t(KINDS[kind].title)}${document_ ? `：${document_.name}` : ""}`);
  byId("editor-body").replaceChildren(form);
  byId("editor").hidden = false;
  byId("editor").scrollIntoView({ block: "nearest" });
  /** @type {HTMLElement|null} */ (form.querySelector("input:not([readonly])"))?.focus();
}

/** @param {string} kind @param {any} document_ */
function formOf(kind, document_) {
  if (kind === "group") return groupForm(document_, known);
  if (kind === "plan") return planForm(document_, known);
  const id = document_?.id ?? "";
  return contactForm(document_, known.browsers.get(id) ?? [], known.languages, (browserId) => endBrowser(id, browserId));
}

function close() {
  editing = null;
  byId("editor").hidden = true;
  byId("editor-body").replaceChildren();
}

/** @param {string} kind @param {{ id: string, document: any }} given */
async function put(kind, { id, document: document_ }) {
  tell("");
  const isTaken = editing?.id === null && known[KINDS[kind].list].some((/** @type {any} */ one) => one.id === id);
  if (isTaken) throw new Error(t("idTaken", { id }));
  await ask("PUT", `api/v1/${KINDS[kind].path}/${encodeURIComponent(id)}`, document_);
  await load();
  close();
  say(t("kept", { name: document_.name }));
}

/** @param {string} kind @param {any} document_ */
function remove(kind, document_) {
  if (!confirm(t("confirmDelete", { name: document_.name }))) return;
  void guarded(async () => {
    await ask("DELETE", `api/v1/${KINDS[kind].path}/${encodeURIComponent(document_.id)}`);
    await load();
    close();
    say(t("deleted", { name: document_.name }));
  });
}

/** @param {string} contact @param {string} browserId */
function endBrowser(contact, browserId) {
  void guarded(async () => {
    await ask("DELETE", `api/v1/contacts/${encodeURIComponent(contact)}/browsers/${browserId}`);
    await load();
    edit("contact", contact);
    say(t("browserEnded"));
  });
}

/** Everything in a file, in an order in which nobody is named before being there. */
async function importFile() {
  const given = JSON.parse(await byId("import-file").files[0].text());
  let count = 0;
  for (const { member, path } of Object.values(KINDS)) {
    for (const one of given[member] ?? []) {
      await ask("PUT", `api/v1/${path}/${encodeURIComponent(one.id)}`, one);
      count += 1;
    }
  }
  await load();
  say(t("imported", { count }));
}

await openPage("contactsTitle", () => {
  close();
  show();
});
for (const kind of Object.keys(KINDS)) byId(`new-${kind}`).addEventListener("click", () => edit(kind, null));
createPush(load);
on("import", "submit", importFile);
on("export", "click", async () => {
  const all = Object.fromEntries(Object.values(KINDS).map(({ member, list }) => [member, known[list]]));
  save("contacts.json", JSON.stringify(all, null, 2), "application/json");
});
await guarded(load);
