// SPDX-License-Identifier: Apache-2.0
// One place for what the page knows. Views read it and are told which parts changed; they never tell each other.

/** @import { PageState } from "./types.js" */

/**
 * @param {PageState} initial
 */
export function createStore(initial) {
  let state = initial;
  /** @type {Set<(state: PageState, changed: Set<string>) => void>} */
  const listeners = new Set();

  return {
    /** @returns {PageState} */
    get: () => state,
    /**
     * Replaces the named parts and tells every listener. Parts that stay the same object do not count as changed.
     * @param {Partial<PageState>} patch
     */
    set(patch) {
      const names = /** @type {(keyof PageState)[]} */ (Object.keys(patch));
      /** @type {Set<string>} */
      const changed = new Set(names.filter((name) => !Object.is(state[name], patch[name])));
      if (changed.size === 0) return;
      state = { ...state, ...patch };
      for (const listener of listeners) listener(state, changed);
    },
    /** @param {(state: PageState, changed: Set<string>) => void} listener */
    subscribe(listener) {
      listeners.add(listener);
    },
  };
}

/** @typedef {ReturnType<typeof createStore>} Store */
