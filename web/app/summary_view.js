// SPDX-License-Identifier: Apache-2.0
// The strip of counts under the top bar: how many stations in each stage. It is the legend of the symbols and, as
// buttons, limits the list to one state.

import { byId, el, setAttribute, setText } from "./dom.js";
import { t } from "./i18n.js";
import { kindOf } from "./list_view.js";
import { stageName, stateOf } from "./stages.js";
import { stateSymbol } from "./symbols.js";

/** @import { PageState, StationState } from "./types.js" */
/** @import { Store } from "./store.js" */

const USUAL = ["standby", "caution", "evacuation_decision", "danger", "overflow"];
const PARTS = ["stations", "stages", "silence", "kind", "lang"];

/** @param {Store} store */
export function createSummaryView(store) {
  const strip = byId("summary");
  let drawn = "";

  /** @param {PageState} state */
  function build(state) {
    const chips = chipsFor(state).map(({ kind, name, look }) => {
      const toggle = () => store.set({ kind: store.get().kind === kind ? null : kind });
      const button = el(
        "button",
        { type: "button", class: "chip", "data-kind": kind, onclick: toggle },
        stateSymbol(look),
        el("span", { class: "chip-name" }, name),
        el("span", { class: "chip-count" }),
      );
      return el("li", {}, button);
    });
    strip.replaceChildren(...chips);
  }

  /** @param {PageState} state */
  function render(state) {
    const look = `${state.lang} ${usedStages(state).map((stage) => stage.code)}`;
    if (look !== drawn) build(state);
    drawn = look;
    const counts = countKinds(state);
    for (const button of strip.querySelectorAll("button")) {
      const count = counts.get(button.dataset.kind ?? "") ?? 0;
      setText(/** @type {Element} */ (button.querySelector(".chip-count")), String(count));
      button.classList.toggle("is-zero", count === 0);
      setAttribute(button, "aria-pressed", String(state.kind === button.dataset.kind));
    }
    document.title = titleFor(state, counts);
  }

  store.subscribe((state, changed) => {
    if (state.loaded && PARTS.some((part) => changed.has(part))) render(state);
  });
}

/**
 * @param {PageState} state
 * @returns {{ kind: string, name: string, look: StationState }[]}
 */
function chipsFor(state) {
  const stages = usedStages(state).sort((a, b) => b.order - a.order);
  return [
    ...stages.map((stage) => ({
      kind: stage.code,
      name: stageName(stage),
      look: /** @type {StationState} */ ({ kind: "stage", stage, severity: 0 }),
    })),
    { kind: "silent", name: t("stateSilent"), look: { kind: "missing", stage: null, severity: 0 } },
    { kind: "normal", name: t("stateNormal"), look: { kind: "normal", stage: null, severity: 0 } },
    {
      kind: "noThresholds",
      name: t("stateNoThresholds"),
      look: { kind: "noThresholds", stage: null, severity: 0 },
    },
  ];
}

/**
 * The stages of telemetered gauges, and those of simpler gauges that some station has.
 * @param {PageState} state
 */
function usedStages(state) {
  const used = new Set(USUAL);
  for (const station of state.stations) {
    for (const threshold of station.thresholds) used.add(threshold.stage);
    if (station.stage !== null) used.add(station.stage);
  }
  return [...state.stages.values()].filter((stage) => used.has(stage.code));
}

/** @param {PageState} state */
function countKinds(state) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const station of state.stations) {
    const kind = kindOf(stateOf(station, state.stages, state.silence));
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

/**
 * The worst state first, so that a tab in the background tells it.
 * @param {PageState} state
 * @param {Map<string, number>} counts
 */
function titleFor(state, counts) {
  const stages = usedStages(state).sort((a, b) => b.order - a.order);
  const worst = stages.find((stage) => counts.has(stage.code));
  return worst ? `(${counts.get(worst.code)}) ${stageName(worst)} – Minamo` : `${t("title")} – Minamo`;
}
