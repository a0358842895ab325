// SPDX-License-Identifier: Apache-2.0
// Keeps the alerts current: the stream brings each one at once, a slow poll repairs what a broken stream missed.

import { fetchAlerts, followAlerts } from "./hub.js";

/** @import { Alert } from "./types.js" */
/** @import { Store } from "./store.js" */

const POLL = 15000; // milliseconds
const FRESH = 12000; // milliseconds a new alert stays highlighted

/**
 * @param {Store} store
 * @param {(news: Alert[]) => void} announce  called with alerts raised or cleared since the page knows of them
 */
export function createAlertsFeed(store, announce) {
  /** @param {Alert[]} news */
  function highlight(news) {
    const ids = news.map((alert) => alert.id);
    store.set({ freshAlerts: new Set([...store.get().freshAlerts, ...ids]) });
    setTimeout(() => {
      store.set({ freshAlerts: new Set([...store.get().freshAlerts].filter((id) => !ids.includes(id))) });
    }, FRESH);
  }

  /**
   * @param {Alert[]} received
   * @param {boolean} tell
   */
  function take(received, tell) {
    const { alerts, news } = mergeAlerts(store.get().alerts, received);
    store.set({ alerts });
    if (tell && news.length > 0) {
      highlight(news);
      announce(news);
    }
  }

  async function poll() {
    const first = store.get().alertsLink === "loading";
    try {
      take(await fetchAlerts(), !first);
      store.set({ alertsLink: "ok" });
    } catch {
      if (!first) store.set({ alertsLink: "lost" });
    }
    setTimeout(poll, POLL);
  }

  return {
    async start() {
      await poll();
      followAlerts({
        onAlert: (alert) => take([alert], true),
        onState: (streaming) => store.set({ streaming }),
      });
    },
  };
}

/**
 * An alert only ever goes from raised to cleared and its peak only up, so an older answer that comes late changes
 * nothing.
 * @param {Map<string, Alert>} known
 * @param {Alert[]} received
 */
export function mergeAlerts(known, received) {
  const alerts = new Map(known);
  const news = [];
  for (const alert of received) {
    const old = alerts.get(alert.id);
    if (old && old.status === "cleared" && alert.status === "raised") continue;
    if (!old || old.status !== alert.status) news.push(alert);
    alerts.set(alert.id, { ...alert, peakValue: higher(old?.peakValue, alert.peakValue) });
  }
  return { alerts, news };
}

/**
 * @param {number|null|undefined} a
 * @param {number|null|undefined} b
 */
function higher(a, b) {
  if (a === null || a === undefined) return b ?? null;
  return b === null || b === undefined ? a : Math.max(a, b);
}
