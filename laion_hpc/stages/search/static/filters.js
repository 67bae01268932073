// The controls of the filters. They show the state and change it.

import { DEFAULTS, FILTERS, SIZES, filtered } from "/state.js";
import { mark } from "/bars.js";
import { languageName, licence } from "/details.js";

const $ = (id) => document.getElementById(id);
const say = (id, text) => (document.querySelector(`output[for="${id}"]`).textContent = text);

/** Fill the controls with the languages, licences and columns that the index has. */
export function offer(about) {
  const options = about.languages.map(([code, count]) => {
    const name = code ? languageName(code) : "No language";
    return new Option(`${name} (${count.toLocaleString("en")})`, code || "none");
  });
  $("language").replaceChildren(new Option("Any language", ""), ...options);
  const licences = about.licenses.filter(([url]) => url && url !== "?");
  const named = licences.map(([url, count]) => new Option(`${licence(url)} (${count.toLocaleString("en")})`, url));
  $("licence").replaceChildren(new Option("Any licence, or none", ""), ...named);
  $("licence").parentElement.hidden = named.length === 0;
  [$("similarity").min, $("similarity").max] = about.similarity;
  for (const part of document.querySelectorAll("[data-column]")) {
    part.hidden = !about.columns.includes(part.dataset.column);
  }
}

function tell(state) {
  say("similarity", state.similarity > DEFAULTS.similarity ? `at least ${state.similarity.toFixed(2)}` : "any");
  say("size", state.size ? `${SIZES[state.size]} pixels and more` : "any");
  say("aesthetic", state.aesthetic > 0 ? `at least ${state.aesthetic.toFixed(1)}` : "any");
  say("watermark", state.watermark < 1 ? `less than ${Math.round(state.watermark * 100)}%` : "any");
  mark(state);
  const count = filtered(state);
  $("filters-count").hidden = count === 0;
  $("filters-count").textContent = count;
  $("filters-toggle").setAttribute("aria-label", count ? `Filters, ${count} set` : "Filters");
  $("filters-clear").disabled = count === 0;
}

/** Set the controls to a state. */
export function show(state) {
  $("language").value = state.language;
  $("similarity").value = Math.max(state.similarity, $("similarity").min);
  $("size").value = state.size;
  $("licence").value = state.licence;
  $("aesthetic").value = state.aesthetic;
  $("watermark").value = state.watermark;
  $("host").value = state.host;
  $("safe").checked = state.safe;
  $("unique").checked = state.unique;
  tell(state);
}

function read() {
  return {
    language: $("language").value,
    similarity: Number($("similarity").value) > Number($("similarity").min) ? Number($("similarity").value) : DEFAULTS.similarity,
    size: Number($("size").value),
    licence: $("licence").value,
    aesthetic: Number($("aesthetic").value),
    watermark: Number($("watermark").value),
    host: $("host").value.trim(),
    safe: $("safe").checked,
    unique: $("unique").checked,
  };
}

export const areOpen = () => !$("filters").hidden;

/** Call `changed(filters)` when a control changes, `opened()` when the panel opens. */
export function listen(changed, opened) {
  const panel = $("filters");
  $("filters-toggle").addEventListener("click", () => {
    panel.hidden = !panel.hidden;
    $("filters-toggle").setAttribute("aria-expanded", String(!panel.hidden));
    if (!panel.hidden) opened();
  });
  panel.addEventListener("input", () => tell(read()));
  panel.addEventListener("change", () => changed(read()));
  $("filters-clear").addEventListener("click", () => changed(cleared()));
}

export const cleared = () => Object.fromEntries(FILTERS.map((key) => [key, DEFAULTS[key]]));
