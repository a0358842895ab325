// SPDX-License-Identifier: Apache-2.0
// Enrols this browser for push messages: a service worker, the person's permission, and the hub's key.

import { byId, el, setText } from "../../app/dom.js";
import { t } from "../../app/i18n.js";
import { ask, on, say } from "../page.js";

const WORKER = new URL("worker.js", import.meta.url);

/** Why this browser cannot be enrolled, as the key of a text; empty when it can. */
function obstacle() {
  if (!window.isSecureContext) return "pushNeedsHttps";
  if (!("serviceWorker" in navigator) || !("PushManager" in window)) return "pushUnsupported";
  return Notification.permission === "denied" ? "pushDenied" : "";
}

/** @param {() => Promise<void>} reload  called when somebody has enrolled */
export function createPush(reload) {
  on("enrol", "submit", async () => {
    const contact = byId("push-contact").value;
    if ((await Notification.requestPermission()) !== "granted") throw new Error(t("pushDenied"));
    const { publicKey } = await ask("GET", "api/v1/web-push");
    const registration = await ready(await navigator.serviceWorker.register(WORKER));
    const subscription = await subscribe(registration, publicKey);
    const body = { subscription: subscription.toJSON(), label: byId("push-label").value.trim() };
    await ask("POST", `api/v1/contacts/${encodeURIComponent(contact)}/browsers`, body);
    await reload();
    say(t("enrolled"));
  });
}

/**
 * The registration, as soon as its worker runs.
 * @param {ServiceWorkerRegistration} registration
 */
async function ready(registration) {
  const worker = registration.active ?? registration.waiting ?? registration.installing;
  if (!worker || worker.state === "activated") return registration;
  await new Promise((resolve) => worker.addEventListener("statechange", () => worker.state === "activated" && resolve(null)));
  return registration;
}

/**
 * Enrols for the hub's key; one of another key, of before, is given up.
 * @param {ServiceWorkerRegistration} registration @param {string} publicKey
 */
async function subscribe(registration, publicKey) {
  const options = { userVisibleOnly: true, applicationServerKey: bytesOf(publicKey) };
  const before = await registration.pushManager.getSubscription();
  if (before && !isFor(before, options.applicationServerKey)) await before.unsubscribe();
  return registration.pushManager.subscribe(options);
}

/** @param {PushSubscription} subscription @param {Uint8Array} key */
function isFor(subscription, key) {
  const own = new Uint8Array(subscription.options.applicationServerKey ?? new ArrayBuffer(0));
  return own.length === key.length && own.every((byte, index) => byte === key[index]);
}

/** @param {string} text  base64url */
function bytesOf(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** @param {any} known */
export function showPush(known) {
  const why = obstacle();
  setText(byId("push-state"), why ? `✕ ${t(why)}` : t("pushHint"));
  byId("push-state").classList.toggle("is-wrong", Boolean(why));
  for (const control of byId("enrol").elements) control.disabled = Boolean(why) || known.contacts.length === 0;
  const chosen = byId("push-contact").value;
  byId("push-contact").replaceChildren(...known.contacts.map((/** @type {any} */ one) => el("option", { value: one.id }, one.name)));
  if (known.contactById.has(chosen)) byId("push-contact").value = chosen;
}
