// The pictures of a query, as chips below the words. Each says "more like this" or "less like this".

import * as api from "/api.js";
import { load } from "/grid.js";

const list = document.getElementById("parts");
const known = new Map(); // items by id, so that no picture is fetched twice

export const remember = (items) => items.forEach((item) => known.set(item.id, item));

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#${name}`);
  svg.append(use);
  return svg;
}

function button(label, name, run) {
  const made = document.createElement("button");
  Object.assign(made, { type: "button", className: "icon small", title: label });
  made.setAttribute("aria-label", label);
  made.append(icon(name));
  made.addEventListener("click", run);
  return made;
}

async function showItem(image, index, id) {
  try {
    if (!known.has(id)) known.set(id, await api.item(index, id));
    load(image, known.get(id), () => image.removeAttribute("src"));
  } catch {
    image.removeAttribute("src"); // the search shows the same error
  }
}

function chip(label, kind, ...buttons) {
  const place = document.createElement("li");
  const image = document.createElement("img");
  const words = document.createElement("span");
  place.className = `part ${kind}`;
  image.alt = "";
  words.textContent = label;
  place.append(image, words, ...buttons);
  list.append(place);
  return image;
}

/** Show the pictures of a state. The buttons of the chips call `change(part of the state)`. */
export function show(state, index, change) {
  list.replaceChildren();
  const source = state.image || state.url;
  if (source) chip("Your picture", "like", button("Remove this picture", "i-close", () => change({ image: "", url: "" }))).src = source;
  for (const [own, other, label, turn, sign] of [
    ["like", "unlike", "More like this", "Change to: less like this", "i-minus"],
    ["unlike", "like", "Less like this", "Change to: more like this", "i-plus"],
  ]) {
    for (const id of state[own]) {
      const rest = state[own].filter((entry) => entry !== id);
      const image = chip(
        label,
        own,
        button(turn, sign, () => change({ [own]: rest, [other]: [...state[other], id] })),
        button("Remove this picture", "i-close", () => change({ [own]: rest })),
      );
      showItem(image, index, id);
    }
  }
  list.hidden = list.children.length === 0;
}
