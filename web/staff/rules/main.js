// SPDX-License-Identifier: Apache-2.0
// Puts the page of rules together: the list, one rule in a form, files, and what rules would have done.

import { byId, el, setText } from "../../app/dom.js";
import { t } from "../../app/i18n.js";
import { button, hubTime, localTime } from "../forms.js";
import { ask, askFor, guarded, nameIn, on, openPage, save, say, tell } from "../page.js";
import { ruleForm } from "./form.js";
import { ruleTable } from "./list.js";
import { timelines } from "./timeline.js";

const YAML = "application/yaml";

/** @type {any} */
const known = { rules: [], stages: new Map(), replay: null };
/** What is in the form. @type {{ id: string|null, read: () => { id: string, document: any } }|null} */
let editing = null;

async function load() {
  const [stations, rules] = await Promise.all([ask("GET", "api/v1/stations"), ask("GET", "api/v1/alert-rules")]);
  known.stages = new Map(stations.stages.map((/** @type {any} */ one) => [one.code, one]));
  known.rules = rules.rules;
  show();
}

function show() {
  byId("rule-list").replaceChildren(ruleTable(known, edit));
  showChoice();
  if (known.replay) byId("timeline").replaceChildren(...timelines(known.replay, known.stages));
}

/** Which rules can be tried: all, one, or the one in the form as it is written there. */
function showChoice() {
  const before = byId("replay-which").value;
  const options = [["", t("allRules")], ...known.rules.map((/** @type {any} */ rule) => [rule.id, nameIn(rule.name)])];
  if (editing) options.unshift([" form", t("ruleInForm")]);
  byId("replay-which").replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
  byId("replay-which").value = editing ? " form" : options.some(([value]) => value === before) ? before : "";
}

/** @param {string|null} id */
function edit(id) {
  tell("");
  const rule = id === null ? null : known.rules.find((/** @type {any} */ one) => one.id === id);
  const { nodes, read } = ruleForm(rule, [...known.stages.values()]);
  editing = { id, read };
  const form = el("form", { id: "edit" }, ...nodes);
  const actions = el("div", { class: "actions" }, el("button", { type: "submit" }, t("keep")), button(t("alarmCancel"), close));
  if (rule) actions.append(button(t("delete"), () => remove(rule), "danger"));
  form.append(actions);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void guarded(put);
  });
  setText(byId("editor-title"), rule ? `${t("ruleOne")}：${nameIn(rule.name)}` : t("newRule"));
  byId("editor-body").replaceChildren(form);
  byId("editor").hidden = false;
  byId("editor").scrollIntoView({ block: "nearest" });
  /** @type {HTMLElement|null} */ (form.querySelector("input:not([readonly])"))?.focus();
  showChoice();
}

function close() {
  editing = null;
  byId("editor").hidden = true;
  byId("editor-body").replaceChildren();
  showChoice();
}

async function put() {
  tell("");
  if (!editing) return;
  const { id, document: document_ } = editing.read();
  if (editing.id === null && known.rules.some((/** @type {any} */ one) => one.id === id)) throw new Error(t("idTaken", { id }));
  const rule = await ask("PUT", `api/v1/alert-rules/${encodeURIComponent(id)}`, document_);
  await load();
  close();
  say(t("kept", { name: nameIn(rule.name) }));
}

/** @param {any} rule */
function remove(rule) {
  if (!confirm(t("confirmRuleDelete", { name: nameIn(rule.name) }))) return;
  void guarded(async () => {
    await ask("DELETE", `api/v1/alert-rules/${encodeURIComponent(rule.id)}`);
    await load();
    close();
    say(t("deleted", { name: nameIn(rule.name) }));
  });
}

async function replay() {
  const which = byId("replay-which").value;
  /** @type {Record<string, any>} */
  const question = { from: hubTime(byId("replay-from").value), to: hubTime(byId("replay-to").value) };
  if (which === " form" && editing) {
    const { id, document: document_ } = editing.read();
    question.rules = [{ ...document_, id: id || "tried" }];
  } else if (which) question.rules = known.rules.filter((/** @type {any} */ rule) => rule.id === which);
  byId("timeline").replaceChildren(el("p", {}, t("loading")));
  try {
    known.replay = await ask("POST", "api/v1/alert-rules/replay", question);
  } catch (error) {
    byId("timeline").replaceChildren();
    throw error;
  }
  show();
}

/** @param {boolean} isTrial */
async function importFile(isTrial) {
  const file = byId("import-file").files[0];
  if (!file) throw new Error(t("noFile"));
  const query = new URLSearchParams({ dryRun: String(isTrial), replace: String(byId("import-replace").checked) });
  const type = file.name.endsWith(".json") ? "application/json" : YAML;
  const answer = JSON.parse(await askFor("application/json", "POST", `api/v1/alert-rules/import?${query}`, await file.text(), type));
  const lines = answer.rules.map((/** @type {any} */ one) =>
    el("li", {}, `${one.id}：${t(one.created ? "importNew" : "importChanged")}`, ...one.warnings.map((/** @type {string} */ text) => el("div", { class: "is-wrong" }, `⚠ ${text}`))),
  );
  lines.push(...answer.removed.map((/** @type {string} */ id) => el("li", {}, `${id}：${t("importRemoved")}`)));
  byId("import-result").replaceChildren(el("p", {}, t(isTrial ? "importTried" : "importDone")), el("ul", {}, ...lines));
  if (!isTrial) await load();
}

await openPage("rulesTitle", () => {
  if (!byId("editor").hidden) close();
  show();
});
const now = Date.now();
byId("replay-from").value = localTime(new Date(now - 86400e3).toISOString());
byId("replay-to").value = localTime(new Date(now).toISOString());
byId("new-rule").addEventListener("click", () => edit(null));
on("replay", "submit", replay);
on("import", "submit", () => importFile(true));
on("import-do", "click", () => importFile(false));
on("export", "click", async () => save("rules.yaml", await askFor(YAML, "GET", "api/v1/alert-rules?format=yaml"), YAML));
await guarded(load);
