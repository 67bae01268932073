// Searches to start with. They are captions of the index, so they always find something.

const EXAMPLES = 5;
const short = (caption) => caption.length >= 8 && caption.length <= 64 && /^[^\d_/|@#<>{}]+$/.test(caption) && (/\s\S+\s/.test(caption) || /[^\u0000-\u024f]/.test(caption));

/** Up to five captions: two in the reader's language, then one of each other language, then any. Higher similarity comes first. */
function captions(items) {
  const own = navigator.language.split("-")[0];
  const rank = items.filter((item) => short(item.caption)).sort((a, b) => (b.similarity ?? 0) - (a.similarity ?? 0));
  const others = new Map(rank.filter((item) => item.language !== own).reverse().map((item) => [item.language, item]));
  const wanted = [...rank.filter((item) => item.language === own).slice(0, 2), ...[...others.values()].reverse(), ...rank];
  return [...new Set(wanted.map((item) => item.caption))].slice(0, EXAMPLES);
}

/** Show captions of these items as buttons. A click calls `search(caption)`. */
export function offer(place, items, search) {
  const buttons = captions(items).map((caption) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "example";
    const words = document.createElement("span");
    words.textContent = caption;
    words.dir = "auto";
    button.append(words);
    button.addEventListener("click", () => search(caption));
    return button;
  });
  place.replaceChildren(...buttons);
}
