// SPDX-License-Identifier: Apache-2.0
// A registration that a person writes as JSON.

import { byId } from "../../app/dom.js";
import { t } from "../../app/i18n.js";

/** The registration that is tried out, as the text says it. */
export function readRegistration() {
  const text = byId("registration").value.trim();
  if (!text) return undefined;
  let registration = null;
  try {
    registration = JSON.parse(text);
  } catch (error) {
    throw new Error(t("notJson", { why: error.message }));
  }
  if (registration === null || typeof registration !== "object" || Array.isArray(registration))
    throw new Error(t("notJson", { why: "{...}" }));
  return registration;
}
