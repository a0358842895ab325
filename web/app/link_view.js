// SPDX-License-Identifier: Apache-2.0
// Top bar and banner: the clock, whether data still arrives, and a loud notice when it does not.

import { byId, setAttribute, setText } from "./dom.js";
import { formatAge, formatClock, formatFull, zoneName } from "./format.js";
import { t } from "./i18n.js";

/** @import { PageState } from "./types.js" */
/** @import { Store } from "./store.js" */

/**
 * @param {Store} store
 * @param {{ now: () => Date }} page
 */
export function createLinkView(store, page) {
  function tick() {
    const now = page.now();
    setText(byId("clock"), formatClock(now));
    setAttribute(byId("clock"), "datetime", now.toISOString());
    setText(byId("zone"), zoneName());
  }

  /** @param {PageState} state */
  function render(state) {
    const broken = state.link === "lost" || state.link === "frozen";
    document.body.classList.toggle("is-lost", broken);
    byId("connection").dataset.state = broken
      ? "lost"
      : state.link === "ok" && !state.streaming
        ? "stream"
        : state.link;
    setText(byId("connection"), connectionText(state));
    const banner = byId("banner");
    banner.hidden = !broken;
    setText(byId("banner-text"), broken ? bannerText(state) : "");
    // Outside of the live region: a screen reader is told once, not at every second.
    setText(
      byId("banner-age"),
      broken && state.dataTime ? t("bannerAge", { age: formatAge(state.silence) }) : "",
    );
    renderNotice(state);
    tick();
  }

  store.subscribe((state, changed) => {
    if (["link", "silence", "streaming", "lang", "notice"].some((part) => changed.has(part))) render(state);
  });
  setInterval(tick, 1000);
  tick();
}

/** @param {PageState} state */
function connectionText(state) {
  if (state.link === "loading") return t("connectionLoading");
  if (state.link !== "ok") return t("connectionLost");
  return t(state.streaming ? "connectionOk" : "connectionStream");
}

/** @param {PageState} state */
function bannerText(state) {
  if (state.dataTime === null) return t("bannerNever");
  const slots = { time: formatFull(new Date(state.dataTime)) };
  return t(state.link === "frozen" ? "bannerFrozen" : "bannerLost", slots);
}

/** @param {PageState} state  the hub may say something about its data, such as that it replays an old flood */
function renderNotice(state) {
  const text = state.notice?.[state.lang] ?? state.notice?.ja ?? "";
  byId("notice").hidden = text === "";
  setText(byId("notice"), text);
}
