// The page: one state, shown by the address, the controls and the grid.

import * as api from "/api.js";
import * as details from "/details.js";
import * as filters from "/filters.js";
import * as grid from "/grid.js";
import * as pictures from "/pictures.js";
import { DEFAULTS, asks, filtered, fromAddress, toAddress, toRequest } from "/state.js";

const PAGE = 48; // results fetched at once
const EXAMPLES = 5;
const $ = (id) => document.getElementById(id);
const newSeed = () => Math.floor(Math.random() * 2 ** 31);

let abouts = [];
let state = { ...DEFAULTS };
let seed = newSeed();
let results = [];
let fetched = 0; // results asked for so far, among them the picture that the query is
let more = false;
let busy = null; // the AbortController of the request under way

const about = () => abouts.find((entry) => entry.name === state.index) || abouts[0];

// ---- from state to page ----

function showQuery() {
  const start = !asks(state);
  document.body.dataset.view = start && !filtered(state) ? "start" : "results";
  if (document.activeElement !== $("text") || $("text").value.trim() !== state.text) $("text").value = state.text;
  const part = state.image || state.url || state.id !== null;
  $("part").hidden = !part;
  $("text").placeholder = part ? "Add words" : "Describe a picture";
  if (part) {
    $("part-label").textContent = state.id !== null ? "More like this" : "Your picture";
    const source = state.image || state.url;
    if (source) $("part-image").src = source;
    else showItemPart(state.id);
  }
  filters.show(state);
  $("index").value = about().name;
  const words = state.text || (part ? $("part-label").textContent : "");
  document.title = words ? `${words} – ${about().name}` : `${about().name} – image search`;
}

async function showItemPart(id) {
  try {
    const item = results.find((entry) => entry.id === id) || (await api.item(about().name, id));
    if (state.id === id) grid.load($("part-image"), item, () => $("part-image").removeAttribute("src"));
  } catch {
    $("part-image").removeAttribute("src"); // the search itself tells what is wrong
  }
}

function summarise() {
  $("shuffle").hidden = asks(state) || results.length === 0;
  if (!results.length) $("summary").textContent = "";
  else if (!asks(state)) $("summary").textContent = filtered(state) ? "A random look, filtered" : "A random look";
  else $("summary").textContent = `${results.length.toLocaleString("en")}${more ? "+" : ""} ${results.length === 1 ? "image" : "images"}, the closest first`;
}

function message(title, text, action) {
  $("message").hidden = !title;
  $("message").classList.toggle("error", Boolean(action?.error));
  $("message-title").textContent = title || "";
  $("message-text").textContent = text || "";
  $("message-action").hidden = !action;
  if (action) {
    $("message-action").textContent = action.label;
    $("message-action").onclick = action.run;
  }
}

// ---- searching ----

async function fetchPage() {
  const first = fetched === 0;
  const control = new AbortController();
  busy = control;
  $("more").hidden = true;
  $("grid").setAttribute("aria-busy", "true");
  grid.blanks($("grid"), first ? 24 : 12);
  try {
    const found = await api.search(toRequest(state, about(), { num: PAGE, offset: fetched, seed }), control.signal);
    grid.clearBlanks($("grid"));
    fetched += found.results.length;
    const fresh = found.results.filter((entry) => entry.id !== state.id);
    results = results.concat(fresh);
    more = found.more;
    grid.append($("grid"), fresh, open);
    if (!results.length) empty();
    if (first && !asks(state)) offerExamples(found.results);
  } catch (error) {
    if (error.name === "AbortError") return;
    grid.clearBlanks($("grid"));
    more = false;
    message(first ? "That did not work" : "", error.message, { label: "Try again", run: first ? run : fetchPage, error: true });
    if (!first) $("summary").textContent = error.message;
  }
  if (busy !== control) return;
  busy = null;
  $("grid").removeAttribute("aria-busy");
  $("more").hidden = !more;
  summarise();
  watch();
}

function empty() {
  const some = filtered(state);
  message(
    some ? "Nothing passes the filters" : "Nothing found",
    some ? "No image of this index fulfils all of them." : "This index holds no image yet.",
    some ? { label: "Clear the filters", run: () => go(filters.cleared()) } : null,
  );
}

function run() {
  busy?.abort();
  busy = null;
  results = [];
  fetched = 0;
  more = false;
  message("");
  $("grid").replaceChildren();
  $("summary").textContent = asks(state) ? "Searching …" : "";
  showQuery();
  fetchPage();
}

/** Change the state, the address with it, and search. */
function go(change, { replace = false } = {}) {
  const before = asks(state);
  state = { ...state, ...change };
  if (!asks(state) && before) seed = newSeed();
  const entry = { image: state.image, seed };
  if (replace) history.replaceState(entry, "", toAddress(state));
  else history.pushState(entry, "", toAddress(state));
  window.scrollTo({ top: 0 });
  run();
}

/** The end of the list comes near: fetch what follows. */
const nearEnd = new IntersectionObserver(
  (entries) => entries.some((entry) => entry.isIntersecting) && more && !busy && fetchPage(),
  { rootMargin: "900px" },
);
function watch() {
  nearEnd.disconnect();
  if (more) nearEnd.observe($("more"));
}

// ---- examples: captions of the index itself, so they always find something ----

const short = (caption) => caption.length >= 8 && caption.length <= 64 && /^[^\d_/|@#<>{}]+$/.test(caption) && (/\s\S+\s/.test(caption) || /[^\u0000-\u024f]/.test(caption));

/** Two in the reader's language first, then other languages, then any; those that fit best. */
function exampleCaptions(items) {
  const own = navigator.language.split("-")[0];
  const rank = items.filter((item) => short(item.caption)).sort((a, b) => (b.similarity ?? 0) - (a.similarity ?? 0));
  const others = new Map(rank.filter((item) => item.language !== own).reverse().map((item) => [item.language, item]));
  const wanted = [...rank.filter((item) => item.language === own).slice(0, 2), ...[...others.values()].reverse(), ...rank];
  return [...new Set(wanted.map((item) => item.caption))].slice(0, EXAMPLES);
}

function offerExamples(items) {
  if (about().text !== "ready" && about().text !== "loading") return;
  const buttons = exampleCaptions(items).map((caption) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "example";
    const words = document.createElement("span");
    words.textContent = caption;
    words.dir = "auto";
    button.append(words);
    button.addEventListener("click", () => go({ text: caption }));
    return button;
  });
  $("examples").replaceChildren(...buttons);
}

// ---- details ----

const position = (item) => results.findIndex((entry) => entry.id === item.id);
const open = (id) => {
  const item = results.find((entry) => entry.id === id);
  if (item) details.show(item, { position: position(item), count: results.length });
};

details.listen({
  similar: (item) => go({ id: item.id, text: "", url: "", image: "" }),
  step: (item, by) => {
    const next = results[position(item) + by];
    if (next) details.show(next, { position: position(next), count: results.length });
  },
  closed: (item) => document.querySelector(`.tile[data-id="${item.id}"]`)?.focus(),
});

// ---- controls ----

$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (pictures.isAddress(text)) {
    $("text").value = "";
    go({ url: text, text: "", id: null, image: "" });
  } else go({ text });
  if (matchMedia("(hover: none)").matches) $("text").blur(); // put the keyboard away
});
$("part-remove").addEventListener("click", () => {
  go({ id: null, url: "", image: "" });
  $("text").focus();
});
pictures.listen(
  (given) => go({ id: null, url: "", image: "", ...given }),
  (error) => message("That did not work", error.message, { label: "Close", run: () => message(""), error: true }),
);
filters.listen((changed) => go(changed));
$("index").addEventListener("change", () => {
  state = { ...state, index: $("index").value, id: null };
  choose();
  go({});
});
$("shuffle").addEventListener("click", () => {
  seed = newSeed();
  go({}, { replace: true });
});
$("more").addEventListener("click", () => !busy && fetchPage());
$("grid").addEventListener("keydown", (event) => grid.walk($("grid"), event));
$("brand").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  seed = newSeed();
  $("filters").hidden = true;
  $("filters-toggle").setAttribute("aria-expanded", "false");
  go({ ...DEFAULTS, index: state.index });
});
$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // Storage may be switched off: the choice then lasts as long as the page.
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(input|select|textarea)$/i.test(event.target.tagName)) return;
  event.preventDefault();
  $("text").select();
});
window.addEventListener("popstate", (event) => {
  state = { ...fromAddress(location.search), image: event.state?.image || "" };
  seed = event.state?.seed ?? seed;
  choose();
  run();
});

// ---- start ----

function choose() {
  filters.offer(about());
  $("brand-name").textContent = about().name;
  $("headline").textContent = `Search ${about().count.toLocaleString("en")} ${about().count === 1 ? "image" : "images"}`;
  $("text").maxLength = 2000;
}

async function start() {
  state = { ...fromAddress(location.search), image: history.state?.image || "" };
  seed = history.state?.seed ?? seed;
  try {
    abouts = await api.indices();
  } catch (error) {
    message("That did not work", error.message, { label: "Try again", run: () => location.reload(), error: true });
    return;
  }
  $("index").replaceChildren(...abouts.map((entry) => new Option(entry.name, entry.name)));
  $("index").hidden = abouts.length < 2;
  if (!abouts.some((entry) => entry.name === state.index)) state.index = "";
  choose();
  history.replaceState({ image: state.image, seed }, "", toAddress(state));
  run();
}

start();
