// SPDX-License-Identifier: Apache-2.0
// Keeps the open incidents current: asked for every few seconds, and at once when an alert arrives or somebody acts.

import { actOnAlarm, fetchIncidents } from "./hub.js";

/** @import { AlarmAction } from "./types.js" */
/** @import { Store } from "./store.js" */

const POLL = 5000; // milliseconds

/** @param {Store} store */
export function createIncidentsFeed(store) {
  let timer = 0;

  async function poll() {
    clearTimeout(timer);
    try {
      store.set({ incidents: await fetchIncidents(), incidentsLink: "ok" });
    } catch {
      store.set({ incidentsLink: "lost" });
    }
    clearTimeout(timer);
    timer = setTimeout(poll, POLL);
  }

  store.subscribe((_, changed) => {
    if (changed.has("alerts")) void poll();
  });

  return {
    start: poll,
    /**
     * Does what a person asked for; throws with what the hub says against it.
     * @param {string} alarmId
     * @param {AlarmAction} action
     * @param {Record<string, string|number>} body
     */
    async act(alarmId, action, body) {
      await actOnAlarm(alarmId, action, body);
      await poll();
    },
  };
}
