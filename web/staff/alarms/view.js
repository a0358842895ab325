// SPDX-License-Identifier: Apache-2.0
// Open incidents: where, how high, since when, who has acknowledged, who was told, and the buttons.

import { actionButtons, focusIn } from "../../app/alarm_form.js";
import { arrange, byId, el, setText } from "../../app/dom.js";
import { formatAge, formatDuration, formatTime, formatValue } from "../../app/format.js";
import { t } from "../../app/i18n.js";
import { stageName, stageOf } from "../../app/stages.js";
import { stageBadge, stageSymbol } from "../../app/symbols.js";
import { nameIn } from "../page.js";
import { deliverySummary, deliveryTable } from "./deliveries.js";
import { changeInAnHour, newestValue } from "./model.js";
import { spark } from "./spark.js";

/**
 * @param {{ act: (alarmId: string, action: string, body: any) => Promise<void>,
 *   steps: (alarmId: string) => Promise<any[]> }} hub
 */
export function createView(hub) {
  /** @type {Map<string, { node: HTMLElement, look: string }>} */
  const cards = new Map();
  const opened = new Set(); // alarms whose details are open
  /** @type {any} */
  let state = null;
  const forms = { list: () => byId("incident-list"), act: hub.act, redraw: () => show(state) };

  /** @param {any} known */
  function show(known) {
    state = known;
    const list = byId("incident-list");
    if (known.incidents.length === 0) {
      cards.clear();
      list.replaceChildren(el("p", { class: "calm" }, el("span", { "aria-hidden": "true" }, "○ "), t("noAlarms")));
      return;
    }
    for (const id of [...cards.keys()]) if (!known.incidents.some((/** @type {any} */ one) => one.incidentId === id)) cards.delete(id);
    arrange(list, known.incidents.map(card));
  }

  /** @param {any} incident */
  function card(incident) {
    const entry = cards.get(incident.incidentId) ?? { node: el("article", { class: "incident" }), look: "" };
    cards.set(incident.incidentId, entry);
    const parts = incident.alarms.map((/** @type {any} */ alarm) => [
      alarm,
      state.deliveries.get(alarm.alarmId),
      state.stationOf(alarm),
      state.series.get(alarm.alarmId)?.at(-1),
      opened.has(alarm.alarmId),
    ]);
    const look = JSON.stringify([state.lang, incident, parts, state.stages.size, state.names.size, state.minute]);
    // What is being typed, and what has the focus, is not taken away by news.
    if (entry.look === look || entry.node.querySelector("form")) return entry.node;
    const focus = focusIn(entry.node);
    const worst = incident.alarms[0];
    if (worst) entry.node.style.setProperty("--stage", stageOf(worst.stage, state.stages).colour);
    entry.node.setAttribute("aria-label", nameIn(incident.name));
    entry.node.replaceChildren(heading(incident), ...incident.alarms.map(row));
    if (focus) /** @type {HTMLElement|null} */ (entry.node.querySelector(focus))?.focus();
    entry.look = look;
    return entry.node;
  }

  /** @param {any} incident */
  function heading(incident) {
    const waiting = incident.unacknowledged;
    const seen = waiting
      ? el("span", { class: "tag is-open" }, `！${t("incidentWaiting", { count: waiting })}`)
      : el("span", { class: "tag" }, `✓ ${t("incidentSeen")}`);
    const since = t("since", { time: formatTime(new Date(incident.openedAt), state.now), duration: lasting(incident.openedAt) });
    return el("header", { class: "incident-head" }, el("h3", {}, nameIn(incident.name)), seen, el("span", { class: "soft" }, since));
  }

  /** @param {string} from */
  function lasting(from) {
    return formatDuration((state.now - new Date(from).getTime()) / 1000);
  }

  /** @param {any} alarm */
  function row(alarm) {
    const stage = stageOf(alarm.stage, state.stages);
    const station = state.stationOf(alarm);
    const buttons = el("div", { class: "alarm-actions" });
    const line = el(
      "section",
      { class: `alarm is-${alarm.status}`, "aria-label": `${nameIn(alarm.stationName)} ${stageName(stage)}` },
      el("div", { class: "where" }, stageSymbol(stage), stageBadge(stage), place(alarm), flags(alarm)),
      level(alarm, station),
      el("div", { class: "who" }, status(alarm), told(alarm)),
      buttons,
      details(alarm),
    );
    line.style.setProperty("--stage", stage.colour);
    const what = `${nameIn(alarm.stationName)} ${stageName(stage)}`;
    buttons.append(...actionButtons(alarm, what, line, forms));
    return line;
  }

  /** @param {any} alarm */
  function place(alarm) {
    const address = new URL("./", document.baseURI);
    address.hash = new URLSearchParams({ station: `${alarm.entityId}|${alarm.attribute.split(/[/#]/).pop()}` }).toString();
    return el("a", { class: "place", href: address.href }, nameIn(alarm.stationName));
  }

  /** @param {any} alarm */
  function flags(alarm) {
    const found = [];
    if (alarm.unknown) found.push(t("alarmUnknown"));
    if (alarm.unstable) found.push(t("alarmUnstable"));
    return found.length ? el("span", { class: "flags" }, `⚠ ${found.join("・")}`) : null;
  }

  /** How high, against what, and where it is going. @param {any} alarm @param {any} station */
  function level(alarm, station) {
    const unit = alarm.unitCode;
    const points = state.series.get(alarm.alarmId) ?? [];
    const { value, at, isPresent } = newestValue(alarm, station, points, state.now);
    const change = isPresent ? changeInAnHour(points) : null;
    const beyond = alarm.threshold !== null && value !== null ? value - alarm.threshold : null;
    const seconds = at ? (state.now.getTime() - at.getTime()) / 1000 : null;
    return el(
      "div",
      { class: "level" },
      el(
        "div",
        { class: "figures" },
        el("p", { class: isPresent ? "value" : "value is-old" }, isPresent ? "" : `${t("lastValue")} `, el("strong", {}, formatValue(value, unit))),
        at ? el("p", { class: "soft" }, t("observedAgo", { time: formatTime(at, state.now), age: formatAge(seconds) })) : null,
        alarm.threshold === null || alarm.threshold === undefined
          ? null
          : el("p", {}, t("thresholdBy", { value: formatValue(alarm.threshold, unit), by: beyond === null ? "—" : formatValue(beyond, unit, { sign: true }) })),
        el("p", {}, trendWords(change, unit)),
        alarm.peakValue === null ? null : el("p", { class: "soft" }, t("alertPeak", { value: formatValue(alarm.peakValue, unit) })),
      ),
      spark(points, alarm.threshold ?? null, t("sparkLabel")),
    );
  }

  /** @param {any} alarm */
  function status(alarm) {
    const at = (/** @type {string} */ text) => formatTime(new Date(text), state.now);
    const since = t("since", { time: at(alarm.openedAt), duration: lasting(alarm.openedAt) });
    const lines = [];
    if (alarm.status === "acknowledged") {
      lines.push(el("p", { class: "seen" }, `✓ ${t("ackBy", { by: alarm.acknowledgedBy ?? "", time: at(alarm.acknowledgedAt) })}`));
    } else if (alarm.status === "shelved") {
      const words = { by: alarm.shelvedBy ?? "", time: at(alarm.shelvedUntil), reason: alarm.shelveReason ?? "" };
      lines.push(el("p", { class: "shelved" }, `‖ ${t("shelvedBy", words)}`));
    } else {
      lines.push(el("p", { class: "unseen" }, `！${t("alarmOpen")}`));
      if (alarm.escalation > 0) lines.push(el("p", {}, t("alarmEscalated", { count: alarm.escalation })));
      if (alarm.escalateAt) lines.push(el("p", { class: "soft" }, t("nextCall", { time: at(alarm.escalateAt) })));
    }
    return el("div", {}, ...lines, el("p", { class: "soft" }, since));
  }

  /** @param {any} alarm */
  function told(alarm) {
    return el("p", {}, deliverySummary(state.deliveries.get(alarm.alarmId) ?? [], state.hasPlans));
  }

  /** @param {any} alarm */
  function details(alarm) {
    const body = el("div", { class: "detail-body" });
    const isOpen = opened.has(alarm.alarmId);
    const node = el("details", { open: isOpen }, el("summary", { "data-details": alarm.alarmId }, t("detailsTitle")), body);
    const fill = async () => {
      const deliveries = state.deliveries.get(alarm.alarmId) ?? [];
      const table = deliveries.length ? deliveryTable(deliveries, state.names, state.now) : el("p", {}, t(state.hasPlans ? "toldNobody" : "toldNoPlans"));
      const steps = el("ol", { class: "steps" });
      body.replaceChildren(el("h4", {}, t("deliveriesTitle")), el("div", { class: "scroll" }, table), el("h4", {}, t("stepsTitle")), steps);
      steps.replaceChildren(...(await hub.steps(alarm.alarmId)).map((step) => stepLine(step)));
    };
    node.addEventListener("toggle", () => {
      if (node.open) {
        opened.add(alarm.alarmId);
        void fill().catch(() => undefined);
      } else opened.delete(alarm.alarmId);
    });
    return node;
  }

  /** @param {any} step */
  function stepLine(step) {
    const value = step.value === null || step.value === undefined ? "" : ` ${formatValue(step.value, step.unitCode)}`;
    const by = [step.by, step.reason].filter(Boolean).join("：");
    const stage = stageName(stageOf(step.stage, state.stages));
    return el("li", {}, el("time", {}, formatTime(new Date(step.at), state.now)), ` ${t(`step_${step.kind}`)} `, el("span", {}, stage), value, by ? el("span", { class: "soft" }, ` ${by}`) : null);
  }

  return { show };
}

/** @param {number|null} change  in an hour @param {string} unit */
function trendWords(change, unit) {
  if (change === null) return t("trendUnknown");
  const steady = unit === "MTR" ? 0.02 : Infinity;
  const words = Math.abs(change) < steady ? "trendSteady" : change > 0 ? "trendRising" : "trendFalling";
  return t(words, { value: formatValue(change, unit, { sign: true }) });
}

/** The sentence above everything. @param {any} known */
export function showOverview({ incidents, missing, stages }) {
  const alarms = incidents.flatMap((/** @type {any} */ incident) => incident.alarms);
  const worst = alarms.toSorted((/** @type {any} */ a, /** @type {any} */ b) => b.stageOrder - a.stageOrder)[0];
  const head = byId("headline");
  if (!worst) setText(head, t("headlineCalm"));
  else {
    const stage = stageOf(worst.stage, stages);
    const words = { stage: stageName(stage), station: nameIn(worst.stationName), count: alarms.length, rivers: incidents.length };
    setText(head, t("headline", words));
  }
  head.classList.toggle("is-alarm", Boolean(worst));
  const items = missing.map(([key, count]) => el("li", {}, `⚠ ${t(key, { count })}`));
  byId("missing").replaceChildren(...items);
}
