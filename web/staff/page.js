// SPDX-License-Identifier: Apache-2.0
// What all pages of staff have in common: languages, links, the token, what went wrong and what was done, a drill's mark.

import { byId, el, setText } from "../app/dom.js";
import { nameIn, preferredLanguage, t, textsFrom, useLanguage } from "../app/i18n.js";
import { showNav } from "../app/nav.js";
import { addShell } from "../app/shell.js";
import { Refusal, ask, askFor, useToken } from "../devices/hub.js";

export const tenant = new URLSearchParams(location.search).get("tenant") ?? "";

/**
 * Begins a page: texts, links, language buttons, sign-in. Before it, nothing but the page's own parts is there.
 * @param {string} title  key of its title
 * @param {() => void} redraw  called when the language has changed
 * @param {...URL} texts  where the page has texts of its own
 */
export async function openPage(title, redraw, ...texts) {
  textsFrom(new URL("../i18n/", import.meta.url), new URL("i18n/", import.meta.url), ...texts);
  const show = () => {
    document.title = `${t(title)} - Minamo`;
    showNav(byId("nav"));
    markDrill();
  };
  addShell(() => {
    show();
    redraw();
  });
  await useLanguage(preferredLanguage(), false);
  show();
  on("sign-in", "submit", async () => {
    useToken(byId("token").value.trim());
    byId("token").value = "";
    byId("sign-in").hidden = true;
    say(t("tokenKept"));
  });
}

/** A page about a drill says so above everything. */
function markDrill() {
  const isDrill = tenant.startsWith("drill-");
  byId("drill-mark").hidden = !isDrill;
  if (isDrill) setText(byId("drill-mark"), t("drillMark"));
}

/**
 * Does `work`; what goes wrong is told above everything. Gives whether it went well.
 * @param {() => Promise<void>} work
 */
export async function guarded(work) {
  try {
    await work();
    return true;
  } catch (error) {
    tell(wordsOf(error));
    if (error instanceof Refusal && error.needsToken) {
      byId("sign-in").hidden = false;
      byId("token").focus();
    }
    return false;
  }
}

/** @param {unknown} error */
export function wordsOf(error) {
  const isNetwork = error instanceof TypeError || (error instanceof DOMException && error.name === "TimeoutError");
  return isNetwork || !(error instanceof Error) ? t("unreachable") : error.message;
}

/** @param {string} text  what went wrong; empty: nothing */
export function tell(text) {
  setText(byId("fault"), text);
  byId("fault").hidden = !text;
}

/** @param {string} text  what was done */
export function say(text) {
  setText(byId("said"), text);
}

/**
 * Does `work` whenever `event` happens; what was said before is gone.
 * @param {string} id @param {string} event @param {(event: Event) => Promise<void>} work
 */
export function on(id, event, work) {
  byId(id).addEventListener(event, (/** @type {Event} */ happened) => {
    happened.preventDefault();
    tell("");
    say("");
    void guarded(() => work(happened));
  });
}

/**
 * Asks the hub every few seconds while the page is looked at; `onLink` is told whether it answers.
 * @param {number} pause  milliseconds @param {() => Promise<void>} load @param {(isThere: boolean) => void} onLink
 */
export function poll(pause, load, onLink) {
  let timer = 0;
  const turn = async () => {
    clearTimeout(timer);
    if (!document.hidden) {
      try {
        await load();
        onLink(true);
      } catch (error) {
        if (error instanceof Refusal) tell(error.message);
        onLink(false);
      }
    }
    clearTimeout(timer);
    timer = setTimeout(turn, pause);
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) void turn();
  });
  void turn();
  return turn;
}

/**
 * Saves text as a file of the person's.
 * @param {string} name @param {string} text @param {string} type
 */
export function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

export { ask, askFor, nameIn };
