// SPDX-License-Identifier: Apache-2.0
// The links between the pages, in the top bar of each. A page of a drill keeps its tenant.

import { el } from "./dom.js";
import { language } from "./i18n.js";

/** @type {[string, string, string][]}  address, Japanese, English */
const PAGES = [
  ["./", "水位", "Levels"],
  ["alarms", "警報対応", "Alarms"],
  ["rules", "ルール", "Rules"],
  ["contacts", "連絡先・当番", "Contacts"],
  ["drills", "訓練", "Drills"],
  ["devices", "機器", "Devices"],
  ["polls", "定期取得", "Fetched documents"],
  ["quarantine", "隔離", "Quarantine"],
  ["frames", "試し読み", "Try a frame"],
];

const IN_DRILLS = ["./", "alarms"];

/** Fills `nav` anew, in the language in use. @param {Element} nav */
export function showNav(nav) {
  const here = new URL(location.href);
  const links = PAGES.map(([address, ja, en]) => {
    const there = new URL(address, document.baseURI);
    const tenant = here.searchParams.get("tenant");
    // A drill has levels and alarms; people, drills and devices are those of the city.
    if (tenant && (!tenant.startsWith("drill-") || IN_DRILLS.includes(address))) there.searchParams.set("tenant", tenant);
    const isHere = there.pathname === here.pathname;
    return el(
      "li",
      {},
      el("a", { href: there.href, "aria-current": isHere ? "page" : null }, language() === "ja" ? ja : en),
    );
  });
  nav.setAttribute("aria-label", language() === "ja" ? "画面" : "Pages");
  nav.replaceChildren(el("ul", {}, ...links));
}
