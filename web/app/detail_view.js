// SPDX-License-Identifier: Apache-2.0
// The selected station: what it says now, how fast it changes, how far the next stage is, and its hydrograph.

import { createChart, isRain } from "./chart.js";
import { byId, el, setAttribute, setText } from "./dom.js";
import { createForecastFeed, horizon, isExpired, pointsShown } from "./forecasts.js";
import { shortName, showForecasts } from "./forecasts_view.js";
import { formatAge, formatDuration, formatFull, formatTime, formatValue } from "./format.js";
import { t } from "./i18n.js";
import { qualityText } from "./quality.js";
import { changeOver, RANGES, usualStep, withGaps } from "./series.js";
import { createSeriesFeed } from "./series_feed.js";
import { isSilent, keyOf, nextThreshold, stageName, stageOf, stateOf, stateSentence } from "./stages.js";
import { lastStageNote, stateBadge, stateSymbol } from "./symbols.js";

/** @import { PageState, Point, Station } from "./types.js" */
/** @import { SeriesFeed } from "./series_feed.js" */
/** @import { Store } from "./store.js" */

const TABLE_ROWS = 20;
const HOUR = 3600;

/**
 * @param {Store} store
 * @param {{ now: () => Date }} page
 */
export function createDetailView(store, page) {
  const loader = createSeriesFeed(page.now, () => byId("chart").clientWidth);
  const forecasts = createForecastFeed();
  const chart = createChart(byId("chart"), (point) => showReadout(store.get(), point));
  buildRanges(store);

  /** @param {PageState} state */
  function render(state) {
    const station = selectedStation(state);
    renderHead(state, station);
    byId("facts").hidden = !station;
    byId("chart").hidden = !station;
    if (!station) {
      byId("forecasts").hidden = true;
      return;
    }
    renderFacts(state, station, loader.recent(), page.now());
    renderChart(state, station);
    showForecasts(station, state.stages, forecasts.all(page.now()), forecasts.failed(), page.now());
    renderTable(station, loader.recent(), page.now());
  }

  /**
   * @param {PageState} state
   * @param {Station} station
   */
  function renderChart(state, station) {
    const period = loader.period();
    const { from, to: measuredTo, anchored } = period;
    const now = page.now();
    const models = forecasts.all(now);
    const to = horizon(models, period, now);
    const points = loader.points();
    const last = points[points.length - 1];
    const silent = isSilent(stateOf(station, state.stages, state.silence));
    chart.show({
      station,
      stages: state.stages,
      points: isRain(station) || loader.isChosen() ? points : withGaps(points, station.expectedIntervalSeconds),
      from,
      to,
      measuredTo,
      forecasts: models.map((one) => ({
        name: shortName(one, now),
        expired: isExpired(one, now),
        points: pointsShown(one, now),
      })),
      silentFrom: silent && !anchored && last ? last[0] : null,
    });
    setAttribute(byId("chart"), "aria-label", chartLabel(station, from, to));
    setText(byId("chart-note"), noteFor(loader, last, now));
    showReadout(state, null);
  }

  /** @param {Point[]} points @param {PageState} state @param {Point|null} point */
  function readoutText(points, state, point) {
    const station = selectedStation(state);
    const shown = point ?? points[points.length - 1];
    if (!station || !shown) return "";
    const value = shown[1] === null ? t("chartSilent") : formatValue(shown[1], station.unitCode);
    const time = formatTime(new Date(shown[0] * 1000), page.now());
    return point ? `${time}  ${value}` : t("readoutNow", { time, value });
  }

  /** @param {PageState} state @param {Point|null} point */
  function showReadout(state, point) {
    setText(byId("readout"), readoutText(loader.points(), state, point));
  }

  store.subscribe((state, changed) => {
    const station = selectedStation(state);
    if (["selected", "range", "stations", "link"].some((part) => changed.has(part)) && station) {
      void loader.refresh(station, state.range).then((news) => news && render(store.get()));
      void forecasts.refresh(station).then((news) => news && render(store.get()));
    }
    if (["selected", "stations", "stages", "silence", "lang", "range"].some((part) => changed.has(part)))
      render(state);
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.restyle());
  window.matchMedia("print").addEventListener("change", () => chart.restyle());
}

/** @param {PageState} state */
function selectedStation(state) {
  return state.stations.find((station) => keyOf(station) === state.selected) ?? null;
}

/** @param {Station} station */
function attributeName(station) {
  if (station.attribute === "waterLevel") return t("attributeWaterLevel");
  return isRain(station) ? t("attributeRain") : station.attribute;
}

/**
 * @param {PageState} state
 * @param {Station|null} station
 */
function renderHead(state, station) {
  const title = byId("detail-title");
  if (!station) {
    setText(title, t("detailTitle"));
    byId("detail-state").replaceChildren();
    setText(byId("chart-note"), state.loaded ? t("detailNone") : "");
    return;
  }
  const look = stateOf(station, state.stages, state.silence);
  setText(title, `${station.name} ${attributeName(station)}`);
  const host = byId("detail-state");
  const drawn = `${state.lang} ${stateSentence(look)}`;
  if (host.dataset.look !== drawn) {
    const note = lastStageNote(look, "last-stage");
    host.replaceChildren(stateSymbol(look), stateBadge(look), ...(note ? [note] : []));
  }
  host.dataset.look = drawn;
}

/**
 * @param {PageState} state
 * @param {Station} station
 * @param {Point[]} points
 * @param {Date} now
 */
function renderFacts(state, station, points, now) {
  const look = stateOf(station, state.stages, state.silence);
  const silent = isSilent(look);
  const age = station.ageSeconds === null ? null : station.ageSeconds + state.silence;
  const observed = station.observedAt ? formatTime(new Date(station.observedAt), now) : t("never");
  /** @type {[string, string, string][]} */
  const facts = [
    [
      t(silent ? "factLast" : "factCurrent"),
      formatValue(station.value, station.unitCode),
      silent ? "is-old" : "is-main",
    ],
    [
      observedName(station),
      station.observedAt ? `${observed} (${formatAge(age)})` : observed,
      silent ? "is-old" : "",
    ],
  ];
  const doubt = qualityText(station);
  if (doubt) facts.push([t("factQuality"), doubt, "is-doubtful"]);
  if (isRain(station)) {
    const sum = points.reduce((total, [, value]) => total + (value ?? 0), 0);
    facts.push([t("factSum"), points.length > 0 ? formatValue(sum, station.unitCode) : "—", ""]);
  } else {
    // What an old value would say about now is not known.
    facts.push([t("factChange"), silent ? t("unknown") : changeText(station, points), ""]);
    if (station.thresholds.length > 0)
      facts.push([t("factNext"), silent ? t("unknown") : nextText(state, station), ""]);
  }
  fillFacts(facts);
}

/** @param {Station} station */
function observedName(station) {
  const interval = station.expectedIntervalSeconds;
  return interval === null
    ? t("factObserved")
    : t("factObservedEvery", { interval: formatDuration(interval) });
}

/** @param {[string, string, string][]} facts */
function fillFacts(facts) {
  const list = byId("facts");
  const look = JSON.stringify(facts);
  if (list.dataset.look === look) return;
  list.dataset.look = look;
  list.replaceChildren(
    ...facts.map(([name, value, kind]) =>
      el("div", { class: `fact ${kind}` }, el("dt", {}, name), el("dd", {}, value)),
    ),
  );
}

/**
 * @param {Station} station
 * @param {Point[]} points
 */
function changeText(station, points) {
  const step = usualStep(points, station.expectedIntervalSeconds) ?? 0;
  const change = changeOver(points, HOUR, Math.max(step, 60));
  if (change === null) return "—";
  const arrow = change > 0.0005 ? "↑ " : change < -0.0005 ? "↓ " : "→ ";
  return arrow + formatValue(change, station.unitCode, { sign: true });
}

/**
 * @param {PageState} state
 * @param {Station} station
 */
function nextText(state, station) {
  const next = nextThreshold(station);
  if (station.value === null) return t("unknown");
  if (!next) return t("factNextNone");
  const room = formatValue(next.value - station.value, station.unitCode);
  return `${room} (${stageName(stageOf(next.stage, state.stages))})`;
}

/**
 * @param {Station} station
 * @param {number} from
 * @param {number} to
 */
function chartLabel(station, from, to) {
  return t("chartLabel", {
    name: station.name,
    attribute: attributeName(station),
    from: formatFull(new Date(from * 1000)),
    to: formatFull(new Date(to * 1000)),
  });
}

/**
 * @param {SeriesFeed} loader
 * @param {Point|undefined} last
 * @param {Date} now
 */
function noteFor(loader, last, now) {
  if (loader.failed()) return t("chartFailed");
  if (loader.loading()) return t("loading");
  if (!last) return t("chartEmpty");
  const { to, anchored } = loader.period();
  return anchored ? t("chartAnchored", { time: formatTime(new Date(to * 1000), now) }) : "";
}

/** @param {Store} store */
function buildRanges(store) {
  const host = byId("ranges");
  for (const range of Object.keys(RANGES)) {
    const choose = () => store.set({ range });
    host.append(el("button", { type: "button", "data-range": range, onclick: choose }));
  }
  const render = () => {
    for (const button of host.querySelectorAll("button")) {
      setText(button, t(`range${button.dataset.range}`));
      setAttribute(button, "aria-pressed", String(button.dataset.range === store.get().range));
    }
  };
  store.subscribe((_state, changed) => {
    if (changed.has("range") || changed.has("lang")) render();
  });
}

/**
 * The last values in text, newest first, with gaps named.
 * @param {Station} station
 * @param {Point[]} points
 * @param {Date} now
 */
function renderTable(station, points, now) {
  const newest = withGaps(points, station.expectedIntervalSeconds).slice(-TABLE_ROWS).reverse();
  const host = byId("values");
  const look = [
    document.documentElement.lang,
    keyOf(station),
    newest.length,
    newest[0]?.[0],
    newest[0]?.[1],
  ].join("|");
  if (host.dataset.look === look) return;
  host.dataset.look = look;
  const rows = newest.map(([time, value]) =>
    el(
      "tr",
      { class: value === null ? "is-gap" : null },
      el("td", {}, formatTime(new Date(time * 1000), now)),
      el("td", {}, value === null ? t("tableGap") : formatValue(value, station.unitCode)),
    ),
  );
  const head = el(
    "tr",
    {},
    el("th", { scope: "col" }, t("tableTime")),
    el("th", { scope: "col" }, t("tableValue")),
  );
  host.replaceChildren(el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows)));
}
