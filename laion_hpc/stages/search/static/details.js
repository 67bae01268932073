// The dialog with all that is known of one picture.

import { load } from "/grid.js";

const $ = (id) => document.getElementById(id);
const dialog = $("details");
let shown = null;

export function languageName(code) {
  if (!code) return "none detected";
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code) || code;
  } catch {
    return code;
  }
}

function hostOf(url) {
  try {
    return new URL(url).hostname;
  } catch {
    return url;
  }
}

/** Only http(s), since an address from the web must not run as a script. */
const web = (url) => /^https?:\/\//i.test(url || "");

function link(url, text) {
  if (!web(url)) return document.createTextNode(text);
  const anchor = document.createElement("a");
  Object.assign(anchor, { href: url, target: "_blank", rel: "noopener noreferrer nofollow", textContent: text });
  return anchor;
}

function fact(list, name, ...values) {
  const term = document.createElement("dt");
  const meaning = document.createElement("dd");
  term.textContent = name;
  meaning.append(...values);
  list.append(term, meaning);
  return meaning;
}

function scale(list, name, value, share) {
  const bar = document.createElement("i");
  const number = document.createElement("b");
  bar.style.setProperty("--share", Math.min(1, Math.max(0, share)));
  number.textContent = value;
  fact(list, name, bar, number).className = "scale";
}

export function licence(url) {
  const found = /creativecommons\.org\/(licenses|publicdomain)\/([a-z+-]+)(?:\/([\d.]+))?/i.exec(url);
  if (!found) return url;
  if (found[2].toLowerCase() === "zero") return "CC0";
  if (found[2].toLowerCase() === "mark") return "Public domain";
  return `CC ${found[2].toUpperCase()} ${found[3] || ""}`.trim();
}

function fill(item) {
  const list = $("d-facts");
  const number = (column) => (typeof item[column] === "number" ? item[column] : null);
  list.replaceChildren();
  if (number("score") !== null) scale(list, "Match", item.score.toFixed(3), item.score);
  if (number("similarity") !== null) scale(list, "Caption match", item.similarity.toFixed(3), item.similarity / 0.5);
  if (number("aesthetic") !== null) scale(list, "Aesthetic", item.aesthetic.toFixed(1), item.aesthetic / 10);
  if (number("pwatermark") !== null) scale(list, "Watermark", item.pwatermark.toFixed(2), item.pwatermark);
  if (number("punsafe") !== null) scale(list, "Unsafe", item.punsafe.toFixed(2), item.punsafe);
  if (item.nsfw && item.nsfw !== "UNTAGGED") fact(list, "NSFW", item.nsfw.toLowerCase());
  if ("language" in item) fact(list, "Language", languageName(item.language));
  if (item.width > 0) fact(list, "Original", `${item.width} × ${item.height} pixels`);
  if (item.license && item.license !== "?") fact(list, "Licence", link(item.license, licence(item.license)));
  if (item.page_url) fact(list, "Page", link(item.page_url, hostOf(item.page_url)));
  if (item.url) fact(list, "Image", link(item.url, hostOf(item.url)));
  if (item.key) fact(list, "Key", item.key);
}

let collected = () => false;

/** Show on the button whether the item is in the basket. */
export function markCollected() {
  if (!shown) return;
  const inside = collected(shown.id);
  $("d-collect").textContent = inside ? "Collected ✓" : "Collect";
  $("d-collect").setAttribute("aria-pressed", String(inside));
}

/** Show an item. `position` is its place in the results, `count` the number of results. */
export function show(item, { position, count }) {
  shown = item;
  $("d-caption").textContent = item.caption || "Without a caption";
  $("d-caption").dir = "auto";
  const image = $("d-image");
  image.hidden = false;
  image.alt = item.caption;
  $("d-gone").hidden = true;
  load(image, item, () => {
    image.hidden = true;
    $("d-gone").hidden = false;
  });
  $("d-page").hidden = !web(item.page_url);
  if (web(item.page_url)) $("d-page").href = item.page_url;
  fill(item);
  markCollected();
  $("d-previous").hidden = position <= 0;
  $("d-next").hidden = position >= count - 1;
  if (!dialog.open) dialog.showModal();
  $("d-caption").focus();
}

const keys = { ArrowLeft: "d-previous", ArrowRight: "d-next", b: "d-collect", "+": "d-more", "-": "d-less" };

/**
 * `similar(item)` searches with the item alone; `more` and `less` add it to the query;
 * `collect(item)` adds it to the basket or removes it; `step(item, ±1)` shows its neighbour;
 * `closed(item)` is called when the dialog closes.
 */
export function listen({ similar, more, less, collect, inBasket, step, closed }) {
  collected = inBasket;
  for (const [id, run] of [["d-similar", similar], ["d-more", more], ["d-less", less]]) {
    $(id).addEventListener("click", () => {
      const item = shown;
      dialog.close();
      run(item);
    });
  }
  $("d-collect").addEventListener("click", () => collect(shown));
  $("d-close").addEventListener("click", () => dialog.close());
  $("d-previous").addEventListener("click", () => step(shown, -1));
  $("d-next").addEventListener("click", () => step(shown, 1));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    if (!$(keys[event.key]).hidden) $(keys[event.key]).click();
  });
  dialog.addEventListener("close", () => closed(shown));
}
