// SPDX-License-Identifier: Apache-2.0
// The form of a new device: a model, an id, a station, a place, and what the model leaves to the device.

import { byId, el, setText } from "../app/dom.js";
import { language, t } from "../app/i18n.js";

const USUAL = "level-gauge-json";
const WITH_ADDRESS = ["chirpstack", "things-stack", "loriot", "thingpark", "ultralight", "iot-agent-json"];

/** What a model leaves to the device. @param {any} model */
export function needsOf(model) {
  const mappings = model?.attributes ?? [];
  const interval = model?.profile?.expectedInterval ?? {};
  const format = typeof model?.format === "string" ? model.format : model?.format?.name;
  return {
    reference: mappings.some((mapping) => (mapping.measures ?? "value") !== "value" && mapping.reference == null),
    startLevel: interval.active != null && interval.startLevel == null,
    address: WITH_ADDRESS.includes(format),
  };
}

/** The half of "日本語 / English" that is in the language of the page; all of a text that is in one. @param {string} text */
function inOwnLanguage(text) {
  const halves = text.split(" / ");
  return halves.length === 2 ? halves[language() === "ja" ? 0 : 1] : text;
}

/** @param {any[]} models */
export function createForm(models) {
  const choice = byId("model");
  const option = (model) => el("option", { value: model.id, selected: model.id === USUAL }, model.name);
  choice.replaceChildren(...models.map(option));
  const chosen = () => models.find((model) => model.id === choice.value);

  const follow = () => {
    const model = chosen();
    setText(byId("about"), inOwnLanguage(model?.description ?? ""));
    const needs = needsOf(model);
    for (const label of document.querySelectorAll("[data-needs]")) {
      const need = label.getAttribute("data-needs");
      label.hidden = !needs[need];
      label.querySelector("input").required = needs[need] && need !== "address";
    }
    suggestEntity();
  };

  // The station's name follows the device's until somebody writes one.
  let own = false;
  const suggestEntity = () => {
    if (own) return;
    const type = [chosen()?.entityType ?? "WaterObserved"].flat()[0].split(/[/#]/).pop();
    byId("entity").value = byId("id").value ? `urn:ngsi-ld:${type}:${byId("id").value}` : "";
  };
  byId("entity").addEventListener("input", () => (own = byId("entity").value !== ""));
  byId("id").addEventListener("input", suggestEntity);
  choice.addEventListener("change", follow);
  follow();

  return {
    /** The registration as the form says it. */
    read() {
      const document_ = { model: choice.value, entityId: text("entity") };
      for (const [member, id] of [["name", "name"], ["owner", "owner"], ["serialNumber", "serial"]])
        if (text(id)) document_[member] = text(id);
      const place = [text("longitude"), text("latitude")];
      if (place.every(Boolean)) document_.location = place.map(Number);
      else if (place.some(Boolean)) throw new Error(t("both"));
      const needs = needsOf(chosen());
      if (needs.reference && text("reference")) document_.reference = Number(text("reference"));
      if (needs.startLevel && text("start-level")) document_.startLevel = Number(text("start-level"));
      if (needs.address && text("address")) document_.format = { address: text("address") };
      return { id: text("id"), document: document_ };
    },
    clear() {
      byId("register").reset();
      own = false;
      follow();
    },
  };
}

/** @param {string} id */
function text(id) {
  return byId(id).value.trim();
}
