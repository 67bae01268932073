// The basket holds pictures from several searches. The reader exports it, or a query.

import * as api from "/api.js";
import { load } from "/grid.js";

const $ = (id) => document.getElementById(id);
const dialog = $("basket");
const KEPT = ["id", "image", "url", "caption", "width", "height"]; // columns of an item that are stored between visits
let about = null;
let items = new Map();
let current = () => null; // the query that the page shows: {request, words, command}
let changed = () => {};

const slot = () => `basket ${about.name}`;

export const has = (id) => items.has(id);

function keep() {
  try {
    localStorage.setItem(slot(), JSON.stringify([...items.values()]));
  } catch {
    // Storage may be switched off or full. The basket then lasts as long as the page.
  }
  show();
  changed();
}

/** Add an item, or remove it if it is there; returns whether it is in the basket now. */
export function toggle(item) {
  if (!items.delete(item.id)) items.set(item.id, Object.fromEntries(KEPT.filter((key) => key in item).map((key) => [key, item[key]])));
  keep();
  return items.has(item.id);
}

/** Add all of these, up to the number that can be exported; returns how many were new. */
export function collect(found) {
  const before = items.size;
  for (const item of found) {
    if (items.size >= about.max_export) break;
    if (!items.has(item.id)) items.set(item.id, Object.fromEntries(KEPT.filter((key) => key in item).map((key) => [key, item[key]])));
  }
  keep();
  return items.size - before;
}

/** Switch to the basket of an index. */
export function choose(index) {
  about = index;
  items = new Map();
  try {
    for (const item of JSON.parse(localStorage.getItem(slot()) || "[]")) if (Number.isInteger(item?.id)) items.set(item.id, item);
  } catch {
    // The stored text is not a basket, or storage is switched off.
  }
  show();
}

function place(item) {
  const li = document.createElement("li");
  const image = document.createElement("img");
  const remove = document.createElement("button");
  image.alt = item.caption || "Image without a caption";
  image.loading = "lazy";
  load(image, item, () => li.classList.add("gone"));
  Object.assign(remove, { type: "button", className: "icon small", textContent: "×", title: "Remove" });
  remove.setAttribute("aria-label", `Remove: ${image.alt}`);
  remove.addEventListener("click", () => toggle(item));
  li.append(image, remove);
  return li;
}

function show() {
  const count = items.size;
  $("basket-count").textContent = count.toLocaleString("en");
  $("basket-count").hidden = count === 0;
  $("basket-open").setAttribute("aria-label", count ? `Basket and export, ${count} collected` : "Basket and export");
  if (!dialog.open) return;
  const query = current();
  $("basket-items").replaceChildren(...[...items.values()].slice(-400).reverse().map(place));
  $("basket-empty").hidden = count > 0;
  $("basket-clear").hidden = count === 0;
  $("from-basket").disabled = count === 0;
  $("from-basket-words").textContent = count === 1 ? "the picture in the basket" : `the ${count.toLocaleString("en")} pictures in the basket`;
  if (count === 0) $("from-query").checked = true;
  $("from-query-words").textContent = query.words;
  $("export-tar").disabled = !about.thumbnails;
  $("export-tar-note").hidden = about.thumbnails;
  tell();
}

/** Show the export as a command. */
function tell() {
  const whole = $("from-query").checked;
  const format = dialog.querySelector("input[name=format]:checked").value;
  $("export-num").disabled = !whole;
  $("export-num").max = about.max_export;
  const command = whole ? current().command : "";
  $("export-command").hidden = !command;
  if (command) $("export-command-text").textContent = `${command} --top ${$("export-num").value || 1} --to subset.${format}`;
}

async function save(event) {
  event.preventDefault();
  const format = dialog.querySelector("input[name=format]:checked").value;
  const whole = $("from-query").checked;
  const body = whole
    ? { format, query: current().request, num: Number($("export-num").value) }
    : { format, index: about.name, ids: [...items.keys()] };
  const button = $("export-go");
  button.disabled = true;
  $("export-said").classList.remove("error");
  $("export-said").textContent = "Writing …";
  try {
    const { blob, rows, left } = await api.exported(body);
    const anchor = document.createElement("a");
    anchor.href = URL.createObjectURL(blob);
    anchor.download = `${about.name}-subset.${format}`;
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000);
    const out = left ? `; ${left.toLocaleString("en")} left out, ${format === "tar" ? "this server does not have their images" : "they have no address"}` : "";
    $("export-said").textContent = `${rows.toLocaleString("en")} ${rows === 1 ? "row" : "rows"} in ${anchor.download}${out}.`;
  } catch (error) {
    $("export-said").classList.add("error");
    $("export-said").textContent = error.message;
  }
  button.disabled = false;
}

/** `query()` gives what the page shows; `change()` is called when the basket has changed. */
export function listen(query, change) {
  current = query;
  changed = change;
  $("basket-open").addEventListener("click", () => {
    $("export-said").textContent = "";
    $(items.size ? "from-basket" : "from-query").checked = true;
    dialog.showModal();
    show();
  });
  $("basket-close").addEventListener("click", () => dialog.close());
  $("basket-clear").addEventListener("click", () => {
    items.clear();
    keep();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  $("export").addEventListener("input", tell);
  $("export").addEventListener("submit", save);
  window.addEventListener("storage", (event) => about && event.key === slot() && (choose(about), changed()));
}
