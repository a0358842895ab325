// SPDX-License-Identifier: Apache-2.0
// Keeps the stations current by polling, and says honestly when they no longer are.

import { fetchStations } from "./hub.js";

/** @import { Store } from "./store.js" */

const DEFAULT_REFRESH = 3; // seconds
const FROZEN_AFTER = 30; // seconds without a new generatedAt: a cache or a stuck hub answers for the hub

/** Seconds between two polls: `?refresh=`, at least one. */
export function refreshSeconds() {
  const asked = Number(new URLSearchParams(location.search).get("refresh"));
  return Number.isFinite(asked) && asked >= 1 ? asked : DEFAULT_REFRESH;
}

/** @param {Store} store */
export function createStationsFeed(store) {
  let generatedAt = "";
  let changedAt = performance.now();
  let hubOffset = 0; // milliseconds the hub's clock is ahead of this device's

  const silence = () => (performance.now() - changedAt) / 1000;

  async function poll() {
    try {
      const answer = await fetchStations();
      if (answer.generatedAt !== generatedAt) {
        generatedAt = answer.generatedAt;
        changedAt = performance.now();
        hubOffset = Date.parse(generatedAt) - Date.now();
      }
      const frozen = silence() > FROZEN_AFTER;
      store.set({
        stations: answer.stations,
        stages: new Map(answer.stages.map((stage) => [stage.code, stage])),
        loaded: true,
        link: frozen ? "frozen" : "ok",
        dataTime: Date.parse(generatedAt),
        silence: frozen ? silence() : 0,
        notice: answer.notice ?? null,
      });
    } catch {
      store.set({ link: "lost", silence: silence() });
    }
    setTimeout(poll, refreshSeconds() * 1000);
  }

  return {
    start: () => void poll(),
    /** The hub's time: ages and the end of the hydrograph follow it even where the device's clock is wrong. */
    now: () => new Date(Date.now() + hubOffset),
  };
}
