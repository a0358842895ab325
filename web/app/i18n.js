// SPDX-License-Identifier: Apache-2.0
// Texts in Japanese and English. Japanese is the reference: what another language lacks is shown in Japanese.

export const LANGUAGES = ["ja", "en"];
const STORAGE_KEY = "minamo.lang";

/** @type {Record<string, Record<string, string>>} */
const catalogues = {};
let current = "ja";
let folders = [new URL("../i18n/", import.meta.url)];

/** Where another page has its texts; a later folder's come before an earlier one's. @param {...URL} places */
export function textsFrom(...places) {
  folders = places;
}

/** @param {string} lang @param {URL} folder */
async function fetchTexts(lang, folder) {
  const answer = await fetch(new URL(`${lang}.json`, folder));
  if (!answer.ok) throw new Error(`texts ${lang}: ${answer.status}`);
  return answer.json();
}

/** @param {string} lang */
async function load(lang) {
  if (catalogues[lang]) return;
  catalogues[lang] = Object.assign({}, ...(await Promise.all(folders.map((folder) => fetchTexts(lang, folder)))));
}

/** The language asked for by `?lang=`, else the remembered one, else Japanese. */
export function preferredLanguage() {
  const asked = new URLSearchParams(location.search).get("lang");
  const remembered = readStorage();
  return [asked, remembered].find((lang) => lang && LANGUAGES.includes(lang)) ?? "ja";
}

/**
 * Loads the texts, fills every element marked with data-i18n and sets the language of the document.
 * @param {string} lang
 * @param {boolean} remember
 */
export async function useLanguage(lang, remember) {
  await Promise.all([load("ja"), load(lang)]);
  current = lang;
  document.documentElement.lang = lang;
  if (remember) writeStorage(lang);
  for (const node of document.querySelectorAll("[data-i18n]")) {
    node.textContent = t(node.getAttribute("data-i18n") ?? "");
  }
  for (const node of document.querySelectorAll("[data-i18n-label]")) {
    node.setAttribute("aria-label", t(node.getAttribute("data-i18n-label") ?? ""));
  }
  for (const node of document.querySelectorAll("[data-i18n-placeholder]")) {
    node.setAttribute("placeholder", t(node.getAttribute("data-i18n-placeholder") ?? ""));
  }
  for (const button of document.querySelectorAll("button[data-lang]")) {
    button.setAttribute("aria-pressed", String(button.getAttribute("data-lang") === lang));
  }
}

/** The language in use. */
export function language() {
  return current;
}

/**
 * The text of a key with its slots filled.
 * @param {string} key
 * @param {Record<string, string|number>} [slots]
 */
export function t(key, slots = {}) {
  const text = catalogues[current]?.[key] ?? catalogues.ja?.[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in slots ? String(slots[name]) : whole));
}

/** The name in the language in use. @param {{ ja?: string, en?: string }|null|undefined} names */
export function nameIn(names) {
  if (!names) return "";
  return (language() === "ja" ? names.ja : names.en) ?? names.ja ?? names.en ?? "";
}

// Storage may be forbidden by the browser's settings; the page then simply forgets the choice.
function readStorage() {
  try {
    return localStorage.getItem(STORAGE_KEY);
  } catch {
    return null;
  }
}

/** @param {string} lang */
function writeStorage(lang) {
  try {
    localStorage.setItem(STORAGE_KEY, lang);
  } catch {
    // nothing to do
  }
}
