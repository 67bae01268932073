// Histograms over the filters' sliders: how the current results are spread.

import { SIZES } from "/state.js";

const SVG = "http://www.w3.org/2000/svg";
// Which numbers a slider's bars show, and whether a bar [from, to) lies within what it lets pass.
const KINDS = {
  similarity: { column: "similarity", passes: (value, from) => from >= value - 1e-9 },
  size: { column: "size", passes: (value, from) => from >= SIZES[value] },
  aesthetic: { column: "aesthetic", passes: (value, from) => from >= value - 1e-9 },
  watermark: { column: "pwatermark", passes: (value, _from, to) => to <= value + 1e-9 },
};

/** Draw the answer of `/api/histograms`. */
export function draw(answer) {
  for (const [slider, { column }] of Object.entries(KINDS)) {
    const place = document.querySelector(`svg[data-bars="${slider}"]`);
    const found = answer.columns[column];
    place.replaceChildren();
    if (!found) continue;
    const most = Math.max(1, ...found.counts);
    place.setAttribute("viewBox", `0 0 ${found.counts.length} 1`);
    found.counts.forEach((count, i) => {
      const bar = document.createElementNS(SVG, "rect");
      // A square root: few results beside many can still be seen.
      const height = count ? Math.max(0.06, Math.sqrt(count / most)) : 0;
      for (const [name, value] of Object.entries({ x: i + 0.08, width: 0.84, y: 1 - height, height })) bar.setAttribute(name, value);
      bar.dataset.from = found.edges[i];
      bar.dataset.to = found.edges[i + 1];
      bar.dataset.count = count;
      place.append(bar);
    });
    place.setAttribute("aria-label", `How ${answer.counted.toLocaleString("en")} results are spread`);
  }
}

/** Pale the bars that the sliders leave out. */
export function mark(values) {
  for (const [slider, { passes }] of Object.entries(KINDS)) {
    for (const bar of document.querySelectorAll(`svg[data-bars="${slider}"] rect`)) {
      bar.classList.toggle("out", !passes(values[slider], Number(bar.dataset.from), Number(bar.dataset.to)));
    }
  }
}
