// The page. The address, the controls and the grid all show one state.

import * as api from "/api.js";
import * as bars from "/bars.js";
import * as basket from "/basket.js";
import * as details from "/details.js";
import * as examples from "/examples.js";
import * as filters from "/filters.js";
import * as grid from "/grid.js";
import * as parts from "/parts.js";
import * as pictures from "/pictures.js";
import { DEFAULTS, asks, filtered, fromAddress, hasParts, toAddress, toRequest, withoutSliders } from "/state.js";

const PAGE = 48; // results fetched at once
const $ = (id) => document.getElementById(id);
const newSeed = () => Math.floor(Math.random() * 2 ** 31);

let abouts = [];
let state = { ...DEFAULTS };
let seed = newSeed();
let results = [];
let fetched = 0; // results fetched so far; the pictures of the query itself are counted too
let more = false;
let busy = null; // the AbortController of the running search
let counting = null; // the AbortController of the running request for histograms
let where = ""; // the filters as SQL

const about = () => abouts.find((entry) => entry.name === state.index) || abouts[0];

// ---- from state to page ----

function showQuery() {
  const start = !asks(state);
  document.body.dataset.view = start && !filtered(state) ? "start" : "results";
  if (document.activeElement !== $("text") || $("text").value.trim() !== state.text) $("text").value = state.text;
  $("text").placeholder = hasParts(state) ? "Add words" : "Describe a picture";
  parts.show(state, about().name, go);
  filters.show(state);
  $("index").value = about().name;
  document.title = asks(state) ? `${words()} – ${about().name}` : `${about().name} – image search`;
}

/** The query in words. */
function words() {
  const count = state.like.length + state.unlike.length + (state.image || state.url ? 1 : 0);
  return [state.text.trim(), count ? `${count} ${count === 1 ? "picture" : "pictures"}` : ""].filter(Boolean).join(" and ");
}

function summarise() {
  $("shuffle").hidden = asks(state) || results.length === 0;
  $("collect").hidden = results.length === 0;
  if (!results.length) $("summary").textContent = "";
  else if (!asks(state)) $("summary").textContent = filtered(state) ? "A random sample, filtered" : "A random sample";
  else $("summary").textContent = `${results.length.toLocaleString("en")}${more ? "+" : ""} ${results.length === 1 ? "image" : "images"}, the closest first`;
}

function message(title, text, action) {
  $("grid").after($("message"));
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

/** Show an error that does not concern the results. It stands above them, where it is seen. */
function fault(error) {
  message("That did not work", error.message, { label: "Close", run: () => message(""), error: true });
  $("grid").before($("message"));
  $("message").scrollIntoView({ block: "nearest" });
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
    const found = await api.search({ ...toRequest(state, about(), seed), num: PAGE, offset: fetched }, control.signal);
    grid.clearBlanks($("grid"));
    fetched += found.results.length;
    where = found.where;
    const own = new Set([...state.like, ...state.unlike]);
    const fresh = found.results.filter((entry) => !own.has(entry.id));
    parts.remember(fresh);
    results = results.concat(fresh);
    more = found.more;
    grid.append($("grid"), fresh, acts);
    if (!results.length) empty();
    if (first && !asks(state) && ["ready", "loading"].includes(about().text)) {
      examples.offer($("examples"), found.results, (caption) => go({ text: caption }));
    }
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
    some ? "No image of this index passes all of them." : "This index has no images yet.",
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
  if (filters.areOpen()) count();
}

/** Draw the histograms of the sliders. If they cannot be drawn, the page works without them. */
async function count() {
  counting?.abort();
  counting = new AbortController();
  try {
    bars.draw(await api.histograms(toRequest(withoutSliders(state), about(), seed), counting.signal));
    bars.mark(state);
  } catch {
    // The search shows the same error.
  }
}

/** Change the state and the address, then search. */
function go(change, { replace = false } = {}) {
  const before = asks(state);
  state = { ...state, ...change };
  if (!asks(state) && before) {
    seed = newSeed();
    state.seed = null;
  }
  const entry = { image: state.image, seed };
  if (replace) history.replaceState(entry, "", toAddress(state));
  else history.pushState(entry, "", toAddress(state));
  window.scrollTo({ top: 0 });
  run();
}

/** Fetch more results when the reader comes near the end of the list. */
const nearEnd = new IntersectionObserver(
  (entries) => entries.some((entry) => entry.isIntersecting) && more && !busy && fetchPage(),
  { rootMargin: "900px" },
);
function watch() {
  nearEnd.disconnect();
  if (more) nearEnd.observe($("more"));
}

// ---- one picture ----

const position = (item) => results.findIndex((entry) => entry.id === item.id);
const lookAt = (item) => {
  details.show(item, { position: position(item), count: results.length });
  history.replaceState(history.state, "", `${toAddress(state)}#${item.id}`);
};
const without = (list, id) => list.filter((entry) => entry !== id);
const acts = {
  open: lookAt,
  similar: (item) => go({ like: [item.id], unlike: [], text: "", url: "", image: "" }),
  more: (item) => go({ like: [...without(state.like, item.id), item.id], unlike: without(state.unlike, item.id) }),
  less: (item) => go({ unlike: [...without(state.unlike, item.id), item.id], like: without(state.like, item.id) }),
  collect: (item) => {
    const inside = basket.toggle(item);
    $("said").textContent = inside ? "Added to the basket" : "Removed from the basket";
  },
  collected: (item) => basket.has(item.id),
};

details.listen({
  ...acts,
  inBasket: basket.has,
  step: (item, by) => {
    const next = results[position(item) + by];
    if (next) lookAt(next);
  },
  closed: (item) => {
    history.replaceState(history.state, "", toAddress(state));
    document.querySelector(`.tile[data-id="${item.id}"]`)?.focus();
  },
});

/** Show the picture whose id stands after # in the address, if there is one. */
async function lookAtNamed() {
  const id = Number(/^#(\d{1,15})$/.exec(location.hash)?.[1] ?? NaN);
  if (Number.isNaN(id)) return;
  try {
    lookAt(await api.item(about().name, id));
  } catch (error) {
    fault(error);
  }
}

// ---- basket and export ----

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The query as a command; empty for a query with the reader's own picture. */
function command() {
  if (state.image || state.url) return "";
  return [
    "laion-hpc subset INDEX_DIR",
    state.text.trim() && `--query ${quoted(state.text.trim())}`,
    state.like.length && `--like ${state.like.join(" ")}`,
    state.unlike.length && `--unlike ${state.unlike.join(" ")}`,
    where && `--where ${quoted(where)}`,
    !state.safe && "--unsafe",
    state.unique && "--unique",
    !asks(state) && `--seed ${seed}`,
  ].filter(Boolean).join(" ");
}

basket.listen(
  () => ({
    request: toRequest(state, about(), seed),
    words: asks(state) ? `the closest to “${words()}”` : "a random sample",
    command: command(),
  }),
  () => {
    grid.markCollected($("grid"), basket.has);
    details.markCollected();
  },
);
$("collect").addEventListener("click", () => {
  const fresh = basket.collect(results);
  $("said").textContent = `${fresh.toLocaleString("en")} added to the basket`;
});

// ---- controls ----

$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (pictures.isAddress(text)) {
    $("text").value = "";
    go({ url: text, text: "", image: "", like: [], unlike: [] });
  } else go({ text });
  if (matchMedia("(hover: none)").matches) $("text").blur(); // put the keyboard away
});
pictures.listen(
  (given) => go({ like: [], unlike: [], url: "", image: "", ...given }),
  fault,
);
filters.listen(go, count);
$("index").addEventListener("change", () => {
  state = { ...state, index: $("index").value, like: [], unlike: [] };
  choose();
  go({});
});
$("shuffle").addEventListener("click", () => {
  seed = newSeed();
  go({ seed }, { replace: true });
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
    // Storage may be switched off. The choice then lasts as long as the page.
  }
});
document.addEventListener("keydown", (event) => {
  const keys = $("keys");
  if (event.key === "?" && !/^(input|select|textarea)$/i.test(event.target.tagName)) keys.open ? keys.close() : keys.showModal();
  if (document.querySelector("dialog[open]")) return;
  if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(input|select|textarea)$/i.test(event.target.tagName)) return;
  event.preventDefault();
  $("text").select();
});
$("keys-open").addEventListener("click", () => $("keys").showModal());
$("keys-close").addEventListener("click", () => $("keys").close());
$("keys").addEventListener("click", (event) => event.target === $("keys") && $("keys").close());
window.addEventListener("popstate", (event) => {
  state = { ...fromAddress(location.search), image: event.state?.image || "" };
  seed = state.seed ?? event.state?.seed ?? seed;
  choose();
  run();
  lookAtNamed();
});

// ---- start ----

function choose() {
  filters.offer(about());
  basket.choose(about());
  $("brand-name").textContent = about().name;
  $("headline").textContent = `Search ${about().count.toLocaleString("en")} ${about().count === 1 ? "image" : "images"}`;
  $("text").maxLength = 2000;
}

async function start() {
  state = { ...fromAddress(location.search), image: history.state?.image || "" };
  seed = state.seed ?? history.state?.seed ?? seed;
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
  history.replaceState({ image: state.image, seed }, "", toAddress(state) + location.hash);
  run();
  lookAtNamed();
}

start();
