// SPDX-License-Identifier: Apache-2.0
// What people did: listed by time, and as a file.

import { byId, el } from "../../app/dom.js";
import { formatDayTime } from "../../app/format.js";
import { t } from "../../app/i18n.js";
import { hubTime } from "../forms.js";
import { ask, on } from "../page.js";

const MOST = 300; // lines on the page; the file has all
const PAGE = 1000;

export function createAudit() {
  on("audit-span", "submit", load);
  on("audit-csv", "click", saveFile);
  byId("audit").addEventListener("toggle", () => {
    if (byId("audit").open && !byId("audit-list").hasChildNodes()) void load();
  });

  async function load() {
    const entries = (await every()).slice(-MOST).reverse();
    const heads = ["time", "person", "what", "about", "why"].map((key) => el("th", { scope: "col" }, t(key)));
    const rows = entries.map((entry) =>
      el(
        "tr",
        {},
        el("td", {}, formatDayTime(new Date(entry.at))),
        el("td", {}, entry.name ?? entry.actor),
        el("td", {}, t(`audit_${entry.action}`).startsWith("audit_") ? entry.action : t(`audit_${entry.action}`)),
        el("td", {}, entry.target),
        el("td", {}, entry.reason ?? ""),
      ),
    );
    if (rows.length === 0) rows.push(el("tr", {}, el("td", { colspan: "5" }, t("none"))));
    byId("audit-list").replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows)));
  }

  return { load };
}

/** All entries of the time that is asked for. */
async function every() {
  const found = [];
  for (let after = 0; ; after = found.at(-1).id) {
    const { entries } = await ask("GET", `api/v1/audit?${span({ after: String(after), limit: String(PAGE) })}`);
    found.push(...entries);
    if (entries.length < PAGE) return found;
  }
}

/** @param {Record<string, string>} more */
function span(more) {
  const query = new URLSearchParams(more);
  for (const [id, name] of [["audit-from", "from"], ["audit-to", "to"]]) {
    if (byId(id).value) query.set(name, hubTime(byId(id).value) ?? "");
  }
  return query;
}

async function saveFile() {
  const query = span({ format: "csv", limit: "10000" });
  const tenant = new URLSearchParams(location.search).get("tenant");
  const headers = tenant ? { "NGSILD-Tenant": tenant } : undefined;
  const answer = await fetch(new URL(`api/v1/audit?${query}`, document.baseURI), { headers, cache: "no-store" });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  const url = URL.createObjectURL(await answer.blob());
  el("a", { href: url, download: "audit.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
