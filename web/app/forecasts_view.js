// SPDX-License-Identifier: Apache-2.0
// What models say of the selected station in words: of which model and version, issued when, until when it holds, how
// high. The hydrograph shows the same as broken lines.

import { dashOf } from "./chart_forecasts.js";
import { byId, el } from "./dom.js";
import { isExpired, peakToCome } from "./forecasts.js";
import { formatAge, formatTime, formatValue } from "./format.js";
import { language, t } from "./i18n.js";
import { stageName, stageOf } from "./stages.js";

/** @import { Forecast, Stage, Station } from "./types.js" */

const TABLE_ROWS = 36; // of each forecast

/** How a forecast is called on the chart. @param {Forecast} forecast @param {Date} now */
export function shortName(forecast, now) {
  const name = forecast.isBaseline ? t("forecastBaselineShort") : `${t("forecast")} ${forecast.model}`;
  return isExpired(forecast, now) ? t("forecastExpiredShort", { name }) : name;
}

/**
 * @param {Station} station
 * @param {Map<string, Stage>} stages
 * @param {Forecast[]} forecasts
 * @param {boolean} failed  they could not be asked for
 * @param {Date} now
 */
export function showForecasts(station, stages, forecasts, failed, now) {
  const host = byId("forecasts");
  host.hidden = forecasts.length === 0 && !failed;
  const look = JSON.stringify([language(), station.thresholds, stages.size, forecasts, failed, Math.floor(now.getTime() / 60000)]);
  if (host.dataset.look === look) return;
  host.dataset.look = look;
  const before = host.querySelector("details");
  const hadFocus = before?.contains(document.activeElement);
  const items = forecasts.map((forecast, place) => item(station, stages, forecast, place, now));
  const parts = [el("h3", {}, t("forecastsTitle")), el("p", { class: "soft" }, t("forecastsLabel"))];
  if (failed) parts.push(el("p", { class: "forecast-fault" }, `⚠ ${t("forecastsFailed")}`));
  if (items.length > 0) parts.push(el("ul", { class: "forecast-list" }, ...items));
  const values = table(station, forecasts, now);
  if (values) parts.push(values);
  if (values && before) values.open = before.open;
  host.replaceChildren(...parts);
  if (hadFocus) values?.querySelector("summary")?.focus();
}

/** @param {Station} station @param {Map<string, Stage>} stages @param {Forecast} forecast @param {number} place @param {Date} now */
function item(station, stages, forecast, place, now) {
  const expired = isExpired(forecast, now);
  const at = (/** @type {number} */ time) => formatTime(new Date(time), now);
  const issued = { time: at(forecast.issuedAt), age: formatAge((now.getTime() - forecast.issuedAt) / 1000) };
  const name = forecast.isBaseline ? t("forecastBaseline") : `${forecast.model} ${forecast.version}`;
  return el(
    "li",
    { class: expired ? "is-expired" : null },
    sample(dashOf(place, expired)),
    el("strong", {}, name),
    ` ${t("forecastIssued", issued)} `,
    expired
      ? el("strong", { class: "forecast-stale" }, `⚠ ${t("forecastExpired", { time: at(forecast.expiresAt) })}`)
      : t("forecastUntil", { time: at(forecast.expiresAt) }),
    expired ? "" : ` ${peakText(station, stages, forecast, now)}`,
    forecast.isBaseline && !expired ? el("span", { class: "soft" }, ` ${t("forecastBaselineNote")}`) : null,
  );
}

/** @param {Station} station @param {Map<string, Stage>} stages @param {Forecast} forecast @param {Date} now */
function peakText(station, stages, forecast, now) {
  const peak = peakToCome(forecast, now);
  if (!peak || peak[1] === null) return t("forecastOver");
  const [time, value] = peak;
  const text = t("forecastPeak", { value: formatValue(value, station.unitCode), time: formatTime(new Date(time * 1000), now) });
  const reached = station.thresholds.filter((threshold) => threshold.value <= value).sort((a, b) => b.value - a.value)[0];
  return reached ? `${text} ${t("forecastReaches", { stage: stageName(stageOf(reached.stage, stages)) })}` : text;
}

/** The line as the chart draws it. @param {number[]} dash */
function sample(dash) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  const line = document.createElementNS(space, "line");
  for (const [name, value] of Object.entries({ class: "forecast-sample", viewBox: "0 0 34 10", "aria-hidden": "true" }))
    picture.setAttribute(name, value);
  for (const [name, value] of Object.entries({ x1: 0, x2: 34, y1: 5, y2: 5, "stroke-dasharray": dash.join(" ") }))
    line.setAttribute(name, String(value));
  picture.append(line);
  return picture;
}

/** The values that are still to come, the next ones of each. @param {Station} station @param {Forecast[]} forecasts @param {Date} now */
function table(station, forecasts, now) {
  const rows = forecasts
    .filter((forecast) => !isExpired(forecast, now))
    .flatMap((forecast) => {
      const coming = forecast.points.filter(([time]) => time * 1000 >= now.getTime()).slice(0, TABLE_ROWS);
      return coming.map(([time, value]) => [formatTime(new Date(time * 1000), now), shortName(forecast, now), formatValue(value, station.unitCode)]);
    });
  if (rows.length === 0) return null;
  const heads = ["forecastTime", "forecastModel", "forecastValue"].map((key) => el("th", { scope: "col" }, t(key)));
  const body = rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell))));
  return el(
    "details",
    { class: "values" },
    el("summary", {}, t("forecastTable")),
    el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...body)),
  );
}
