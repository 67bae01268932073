// What the page shows, as a plain object and as an address that can be shared.

export const SIZES = [0, 128, 256, 384, 512, 768, 1024, 1536, 2048]; // pixels, shorter side of the original
export const UNLIKE = -0.5; // weight of "less like this"; `laion-hpc subset --unlike` has the same

export const DEFAULTS = Object.freeze({
  index: "", text: "", url: "", image: "", like: Object.freeze([]), unlike: Object.freeze([]), seed: null,
  language: "", licence: "", similarity: -1, size: 0, aesthetic: 0, watermark: 1, host: "", safe: true, unique: false,
});

const NAMES = {
  index: "index", text: "q", url: "url", like: "like", unlike: "unlike", seed: "seed", language: "lang", licence: "licence",
  similarity: "fit", size: "size", aesthetic: "aesthetic", watermark: "watermark", host: "site", safe: "safe", unique: "unique",
};
export const SLIDERS = ["similarity", "size", "aesthetic", "watermark"];
export const FILTERS = ["language", "licence", ...SLIDERS, "host", "safe", "unique"];

const ids = (text) => [...new Set(text.split(",").filter((part) => /^\d{1,15}$/.test(part)).map(Number))].slice(0, 16);

/** The state in the query string of an address. Invalid values are ignored. */
export function fromAddress(search) {
  const given = new URLSearchParams(search);
  const state = { ...DEFAULTS };
  for (const [key, name] of Object.entries(NAMES)) {
    if (!given.has(name)) continue;
    const value = given.get(name);
    const usual = DEFAULTS[key];
    if (typeof usual === "boolean") state[key] = value === "1" || (usual && value !== "0");
    else if (Array.isArray(usual)) state[key] = ids(value);
    else if (key === "seed") state.seed = /^\d{1,15}$/.test(value) ? Number(value) : null;
    else if (key === "size") state.size = Math.max(0, SIZES.indexOf(Number(value)));
    else if (typeof usual === "number") state[key] = Number.isFinite(Number(value)) ? Number(value) : usual;
    else state[key] = value;
  }
  return state;
}

/** The address of a state. It holds only what differs from the defaults. */
export function toAddress(state) {
  const given = new URLSearchParams();
  for (const [key, name] of Object.entries(NAMES)) {
    const value = state[key];
    if (Array.isArray(value) ? value.length === 0 : value === DEFAULTS[key]) continue;
    if (key === "seed" && asks(state)) continue;
    if (typeof value === "boolean") given.set(name, value ? "1" : "0");
    else given.set(name, key === "size" ? SIZES[value] : value);
  }
  const text = given.toString().replaceAll("%2C", ",");
  return text ? `?${text}` : location.pathname;
}

/** Whether the query has a picture. */
export const hasParts = (state) => Boolean(state.url || state.image || state.like.length || state.unlike.length);

export const asks = (state) => Boolean(state.text.trim()) || hasParts(state);

/** How many filters are set. */
export const filtered = (state) => FILTERS.filter((key) => state[key] !== DEFAULTS[key]).length;

/** The state without its sliders. The histograms are counted for this state. */
export const withoutSliders = (state) => ({ ...state, ...Object.fromEntries(SLIDERS.map((key) => [key, DEFAULTS[key]])) });

/** The body of `/api/search` for a state, without `num` and `offset`. */
export function toRequest(state, about, seed) {
  const has = (column) => about.columns.includes(column);
  const filter = {};
  if (state.language && has("language")) filter.language = [state.language === "none" ? "" : state.language];
  if (state.licence && has("license")) filter.license = [state.licence];
  if (state.similarity > DEFAULTS.similarity && has("similarity")) filter.min_similarity = state.similarity;
  if (state.size && has("width")) filter.min_width = filter.min_height = SIZES[state.size];
  if (state.aesthetic > 0 && has("aesthetic")) filter.min_aesthetic = state.aesthetic;
  if (state.watermark < 1 && has("pwatermark")) filter.max_pwatermark = state.watermark;
  if (state.host.trim() && has("host")) filter.host = state.host.trim();
  return {
    index: about.name, filter, seed, safe: state.safe, deduplicate: state.unique,
    text: state.text, image_url: state.url, image: state.image,
    parts: [...state.like.map((id) => ({ id })), ...state.unlike.map((id) => ({ id, weight: UNLIKE }))],
  };
}
