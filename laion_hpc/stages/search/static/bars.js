// Histograms above the filters' sliders. They show the distribution of the current results.

import { SIZES } from "/state.js";

const SVG = "http://www.w3.org/2000/svg";
// For each slider: the column that its bars show, and whether the bar [from, to) passes the filter.
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
      // The square root keeps small counts visible beside large ones.
      const height = count ? Math.max(0.06, Math.sqrt(count / most)) : 0;
      for (const [name, value] of Object.entries({ x: i + 0.08, width: 0.84, y: 1 - height, height })) bar.setAttribute(name, value);
      bar.dataset.from = found.edges[i];
      bar.dataset.to = found.edges[i + 1];
      bar.dataset.count = count;
      place.append(bar);
    });
    place.setAttribute("aria-label", `Distribution of ${answer.counted.toLocaleString("en")} results`);
  }
}

/** Fade the bars that the sliders exclude. */
export function mark(values) {
  for (const [slider, { passes }] of Object.entries(KINDS)) {
    for (const bar of document.querySelectorAll(`svg[data-bars="${slider}"] rect`)) {
      bar.classList.toggle("out", !passes(values[slider], Number(bar.dataset.from), Number(bar.dataset.to)));
    }
  }
}
