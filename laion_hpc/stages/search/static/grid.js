// The grid: rows of tiles, one picture each. Arrow keys move between them.

/** Addresses of an item's picture, in the order to try: this server's shards, then the web. */
export const sources = (item) => [item.image, item.url].filter(Boolean);

/** Load the first source that works; `failed` is called if none does. */
export function load(image, item, failed) {
  const left = sources(item);
  const next = () => (left.length ? (image.src = left.shift()) : failed());
  image.onerror = next;
  next();
}

const ratio = (item) => Math.min(2.6, Math.max(0.5, item.width > 0 && item.height > 0 ? item.width / item.height : 1));

function action(kind, label, item, sign, run) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: `act act-${kind}`, title: label, tabIndex: -1, textContent: sign });
  button.setAttribute("aria-label", `${label}: ${item.caption || "image without a caption"}`);
  button.addEventListener("click", run);
  return button;
}

function tile(item, acts) {
  const place = document.createElement("li");
  place.style.setProperty("--ratio", ratio(item).toFixed(3));
  const button = document.createElement("button");
  button.type = "button";
  button.className = "tile";
  button.dataset.id = item.id;
  button.setAttribute("aria-keyshortcuts", "B Plus -"); // the same as the small buttons
  const image = document.createElement("img");
  image.alt = item.caption || "Image without a caption";
  image.loading = "lazy";
  image.decoding = "async";
  image.className = "waiting";
  image.onload = () => image.classList.remove("waiting");
  const caption = document.createElement("span");
  caption.className = "caption";
  caption.setAttribute("aria-hidden", "true"); // the alt text says the same
  const words = document.createElement("span");
  words.textContent = item.caption;
  words.dir = "auto";
  caption.append(words);
  button.append(image, caption);
  load(image, item, () => {
    button.classList.add("gone");
    image.classList.add("waiting");
    words.textContent = item.caption || "no longer on the web";
  });
  button.addEventListener("click", () => acts.open(item));
  button.addEventListener("keydown", (event) => {
    const run = { b: acts.collect, "+": acts.more, "-": acts.less }[event.key];
    if (run && !event.ctrlKey && !event.metaKey && !event.altKey) run(item);
  });
  place.append(
    button,
    action("more", "More like this", item, "+", () => acts.more(item)),
    action("less", "Less like this", item, "−", () => acts.less(item)),
    action("keep", "Add to the basket", item, "✓", () => acts.collect(item)),
  );
  mark(place, acts.collected(item));
  return place;
}

function mark(place, collected) {
  place.classList.toggle("collected", collected);
  place.querySelector(".act-keep").setAttribute("aria-pressed", String(collected));
}

/** Add tiles. `acts` has open, more, less and collect for an item; `collected(item)` tells whether it is in the basket. */
export function append(grid, items, acts) {
  grid.append(...items.map((item) => tile(item, acts)));
}

/** Mark the tiles that are in the basket. */
export function markCollected(grid, collected) {
  for (const tile of grid.querySelectorAll(".tile")) mark(tile.parentElement, collected(Number(tile.dataset.id)));
}

/** Add pulsing placeholders while results load. */
export function blanks(grid, count) {
  const shapes = [1.5, 1, 0.75, 1.33, 1, 1.6, 0.8];
  for (let i = 0; i < count; i += 1) {
    const place = document.createElement("li");
    place.className = "blank";
    place.style.setProperty("--ratio", shapes[i % shapes.length]);
    place.setAttribute("aria-hidden", "true");
    grid.append(place);
  }
}

export function clearBlanks(grid) {
  for (const place of grid.querySelectorAll(".blank")) place.remove();
}

/** Arrow keys: left and right move to the neighbour, up and down to the nearest tile of another row. */
export function walk(grid, event) {
  const from = event.target.closest?.(".tile");
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 };
  if (!from || !(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
  const tiles = [...grid.querySelectorAll(".tile")];
  const at = tiles.indexOf(from);
  let to = tiles[at + steps[event.key]];
  if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    const box = from.getBoundingClientRect();
    const middle = (box.left + box.right) / 2;
    const away = (other) => {
      const b = other.getBoundingClientRect();
      const down = steps[event.key] * (b.top - box.top);
      return down > 4 ? down * 10 + Math.abs((b.left + b.right) / 2 - middle) : Infinity;
    };
    to = tiles.reduce((best, other) => (away(other) < away(best) ? other : best), from);
  }
  if (to) {
    event.preventDefault();
    to.focus();
    to.scrollIntoView({ block: "nearest" });
  }
}
