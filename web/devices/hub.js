// SPDX-License-Identifier: Apache-2.0
// Talks to the hub. Reading goes by the session of the browser; a change is sent with a token that a person has typed,
// where the hub asks for one. The token lives in this variable and nowhere else.

const TIMEOUT = 15000; // milliseconds

const tenant = new URLSearchParams(location.search).get("tenant");
let token = "";

/** What the hub said when it refused; `needsToken`: it wants to know who asks. */
export class Refusal extends Error {
  /** @param {string} text @param {number} status */
  constructor(text, status) {
    super(text);
    this.status = status;
    this.needsToken = status === 401;
  }
}

/** @param {string} value */
export function useToken(value) {
  token = value;
}

/**
 * @param {string} method
 * @param {string} path  relative to the page
 * @param {unknown} [body]
 * @returns {Promise<any>}
 */
export async function ask(method, path, body) {
  const text = await askFor("application/json", method, path, body && JSON.stringify(body), "application/json");
  return text ? readJson(text) : null;
}

/**
 * The same for texts: what is `wanted`, and what is sent, of which `type`.
 * @param {string} wanted
 * @param {string} method
 * @param {string} path  relative to the page
 * @param {string} [body]
 * @param {string} [type]
 */
export async function askFor(wanted, method, path, body, type) {
  const headers = { Accept: wanted };
  if (body !== undefined && type) headers["Content-Type"] = type;
  if (tenant) headers["NGSILD-Tenant"] = tenant;
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(new URL(path, document.baseURI), {
    method,
    headers,
    body,
    cache: "no-store",
    signal: AbortSignal.timeout(TIMEOUT),
  });
  const text = await answer.text();
  if (answer.ok) return text;
  const problem = readJson(text);
  throw new Refusal(problem?.detail ?? problem?.title ?? `HTTP ${answer.status}`, answer.status);
}

/** @param {string} text */
function readJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** @param {string} id @param {...string} more */
export function pathOf(id, ...more) {
  return ["api/v1/devices", encodeURIComponent(id), ...more].join("/");
}
