// The pictures that a query is made of, as chips below the words: more like these, less like those.

import * as api from "/api.js";
import { load } from "/grid.js";

const list = document.getElementById("parts");
const known = new Map(); // items by id, so that a chip's picture is not fetched again

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
    image.removeAttribute("src"); // the search itself tells what is wrong
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

/** Show the pictures of a state; `change(part of the state)` is called by the chips' buttons. */
export function show(state, index, change) {
  list.replaceChildren();
  const source = state.image || state.url;
  if (source) chip("Your picture", "like", button("Leave this picture out", "i-close", () => change({ image: "", url: "" }))).src = source;
  for (const [own, other, label, turn, sign] of [
    ["like", "unlike", "More like this", "Turn into: less like this", "i-minus"],
    ["unlike", "like", "Less like this", "Turn into: more like this", "i-plus"],
  ]) {
    for (const id of state[own]) {
      const rest = state[own].filter((entry) => entry !== id);
      const image = chip(
        label,
        own,
        button(turn, sign, () => change({ [own]: rest, [other]: [...state[other], id] })),
        button("Leave this picture out", "i-close", () => change({ [own]: rest })),
      );
      showItem(image, index, id);
    }
  }
  list.hidden = list.children.length === 0;
}
