// SPDX-License-Identifier: Apache-2.0
// Runs in the background, with all pages closed: shows what the hub sends, and opens the page of alarms.

const ALARMS = new URL("../../../alarms", self.location.href).href;
const ICON = new URL("../../favicon.svg", self.location.href).href;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => {
  let message = { title: "Minamo", body: "", tag: "minamo", urgent: true };
  try {
    message = { ...message, ...event.data.json() };
  } catch {
    // What cannot be read is shown all the same: something has happened.
  }
  const options = {
    body: message.body,
    tag: message.tag,
    renotify: true, // what is newer takes the place of the one before, and is heard
    requireInteraction: message.urgent,
    icon: ICON,
    data: { alarmId: message.alarmId ?? null, tenant: message.tenant ?? "" },
  };
  event.waitUntil(self.registration.showNotification(message.title, options));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(openAlarms(event.notification.data?.tenant ?? ""));
});

/** The page of the tenant that the message is of: that of a drill is not that of the city. @param {string} tenant */
async function openAlarms(tenant) {
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const open = pages.find(({ url }) => url.split(/[?#]/)[0] === ALARMS && (new URL(url).searchParams.get("tenant") ?? "") === tenant);
  const address = tenant ? `${ALARMS}?${new URLSearchParams({ tenant })}` : ALARMS;
  return open ? open.focus() : self.clients.openWindow(address);
}
