// SPDX-License-Identifier: Apache-2.0
// Values, units and times as a person reads them.

import { language, t } from "./i18n.js";

/** @type {Record<string, { text: string, digits: number }>} */
const UNITS = { MTR: { text: "m", digits: 3 }, MMT: { text: "mm", digits: 1 } };
const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;

/**
 * A value with its unit. Levels keep millimetres: 0.896 shown as 0.90 would seem to have reached 0.90.
 * @param {number|null} value
 * @param {string} unitCode
 * @param {{ sign?: boolean }} [options]
 */
export function formatValue(value, unitCode, options = {}) {
  if (value === null) return "—";
  return `${formatNumber(value, unitCode, options)} ${unitText(unitCode)}`.trimEnd();
}

/**
 * @param {number} value
 * @param {string} unitCode
 * @param {{ sign?: boolean }} [options]
 */
export function formatNumber(value, unitCode, options = {}) {
  const digits = UNITS[unitCode]?.digits ?? 3;
  const text = new Intl.NumberFormat(language(), {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    signDisplay: options.sign ? "exceptZero" : "auto",
  }).format(value);
  return text.replace("-", "−"); // a true minus sign, as wide as a digit
}

/** @param {string} unitCode */
export function unitText(unitCode) {
  return UNITS[unitCode]?.text ?? unitCode;
}

/**
 * The zone of the times shown: `?tz=` (an IANA name, or "browser"), else Japan for Japanese, else the browser's.
 * @returns {string}
 */
export function timeZone() {
  const browser = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const asked = new URLSearchParams(location.search).get("tz");
  if (asked === "browser") return browser;
  if (asked && isZone(asked)) return asked;
  return language() === "ja" ? "Asia/Tokyo" : browser;
}

/** @param {string} zone */
function isZone(zone) {
  try {
    Intl.DateTimeFormat("en", { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}

/** Short name of the zone for the clock: JST, UTC, GMT+1 ... */
export function zoneName() {
  const zone = timeZone();
  if (zone === "Asia/Tokyo") return "JST";
  const parts = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "short" }).formatToParts(
    new Date(),
  );
  return parts.find((part) => part.type === "timeZoneName")?.value ?? zone;
}

/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/**
 * @param {string} kind
 * @param {Intl.DateTimeFormatOptions} options
 */
function dateFormat(kind, options) {
  const key = `${kind} ${language()} ${timeZone()}`;
  let format = formats.get(key);
  if (!format) {
    // British English for its 24-hour clock and day before month, as in the warnings of most services.
    const locale = language() === "en" ? "en-GB" : language();
    format = new Intl.DateTimeFormat(locale, { timeZone: timeZone(), hourCycle: "h23", ...options });
    formats.set(key, format);
  }
  return format;
}

/** @param {Date} date */
export function formatClock(date) {
  return dateFormat("clock", {
    month: "short",
    day: "numeric",
    weekday: "short",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  }).format(date);
}

/**
 * Time of an observation: only the hour and minute when it is of the same day as `now`.
 * @param {Date} date
 * @param {Date} now
 */
export function formatTime(date, now) {
  const day = dateFormat("day", { year: "numeric", month: "numeric", day: "numeric" });
  const sameDay = day.format(date) === day.format(now);
  return sameDay ? formatHourMinute(date) : formatDayTime(date);
}

/** @param {Date} date */
export function formatHourMinute(date) {
  return dateFormat("minute", { hour: "2-digit", minute: "2-digit" }).format(date);
}

/** @param {Date} date */
export function formatDay(date) {
  return dateFormat("short-day", { month: "numeric", day: "numeric" }).format(date);
}

/** @param {Date} date */
export function formatDayTime(date) {
  return dateFormat("day-time", {
    month: "numeric",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
  }).format(date);
}

/** @param {Date} date */
export function formatFull(date) {
  const text = dateFormat("full", {
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  }).format(date);
  return `${text} ${zoneName()}`;
}

/** @param {number|null} seconds */
export function formatAge(seconds) {
  return seconds === null ? t("unknown") : inLargestUnit(seconds, "age");
}

/** @param {number} seconds */
export function formatDuration(seconds) {
  return inLargestUnit(seconds, "duration");
}

/**
 * @param {number} seconds
 * @param {string} prefix
 */
function inLargestUnit(seconds, prefix) {
  if (prefix === "duration" && seconds > 0 && seconds < 1)
    return t(`${prefix}Seconds`, { n: seconds.toFixed(1) });
  const whole = Math.max(0, Math.round(seconds));
  if (whole < MINUTE) return t(`${prefix}Seconds`, { n: whole });
  if (whole < 2 * HOUR) return t(`${prefix}Minutes`, { n: Math.floor(whole / MINUTE) });
  if (whole < 2 * DAY) return t(`${prefix}Hours`, { n: Math.floor(whole / HOUR) });
  return t(`${prefix}Days`, { n: Math.floor(whole / DAY) });
}
