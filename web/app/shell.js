// SPDX-License-Identifier: Apache-2.0
// What every page has around its own parts, built once for all: links and languages in the top bar, what is said above
// everything, the form for a token. A page's file has the bar with its title, a sentence for browsers without
// JavaScript, and its `main`.

import { el } from "./dom.js";
import { useLanguage } from "./i18n.js";

const NAMES = { ja: "日本語", en: "English" };

/**
 * The buttons of languages at the end of the top bar.
 * @param {() => void} onChange  called when another language is in use
 */
export function addLanguages(onChange) {
  const buttons = Object.entries(NAMES).map(([lang, name]) =>
    el("button", { type: "button", "data-lang": lang, lang, "aria-pressed": "false", onclick: () => use(lang) }, name),
  );
  const use = async (/** @type {string} */ lang) => {
    await useLanguage(lang, true);
    onChange();
  };
  topbar().append(el("div", { class: "languages", role: "group", "data-i18n-label": "language" }, ...buttons));
}

/**
 * All of it, for a page of staff; the texts come with the first `useLanguage`.
 * @param {() => void} onChange  called when another language is in use
 */
export function addShell(onChange) {
  topbar().querySelector("h1")?.after(el("nav", { id: "nav", class: "nav" }));
  addLanguages(onChange);
  document.querySelector("main")?.before(
    el("p", { id: "drill-mark", class: "drill-mark", role: "note", hidden: true }),
    el("p", { id: "lost", class: "lost", role: "alert", hidden: true }),
    el("p", { id: "fault", class: "fault", role: "alert", hidden: true }),
    el("p", { id: "said", class: "said", role: "status" }),
    signIn(),
  );
}

function signIn() {
  const token = el("input", { id: "token", type: "password", autocomplete: "off" });
  return el(
    "form",
    { id: "sign-in", class: "panel", hidden: true },
    el("label", {}, el("span", { "data-i18n": "token" }), token),
    el("button", { type: "submit", "data-i18n": "useToken" }),
  );
}

function topbar() {
  return /** @type {HTMLElement} */ (document.querySelector(".topbar"));
}
