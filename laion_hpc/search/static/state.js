// What the page shows, as a plain object, and the same as an address that can be shared.

export const SIZES = [0, 256, 512, 768, 1024, 2048]; // pixels, shorter side of the original

export const DEFAULTS = Object.freeze({
  index: "", text: "", url: "", id: null, image: "",
  language: "", similarity: 0.2, size: 0, watermark: 1, host: "", safe: true, unique: false,
});

const NAMES = {
  index: "index", text: "q", url: "url", id: "id", language: "lang", similarity: "fit",
  size: "size", watermark: "watermark", host: "site", safe: "safe", unique: "unique",
};
export const FILTERS = ["language", "similarity", "size", "watermark", "host", "safe", "unique"];

/** The state in the query string of an address; what makes no sense there is left out. */
export function fromAddress(search) {
  const given = new URLSearchParams(search);
  const state = { ...DEFAULTS };
  for (const [key, name] of Object.entries(NAMES)) {
    if (!given.has(name)) continue;
    const value = given.get(name);
    const usual = DEFAULTS[key];
    if (typeof usual === "boolean") state[key] = value === "1" || (usual && value !== "0");
    else if (key === "id") state.id = /^\d{1,15}$/.test(value) ? Number(value) : null;
    else if (key === "size") state.size = Math.max(0, SIZES.indexOf(Number(value)));
    else if (typeof usual === "number") state[key] = Number.isFinite(Number(value)) ? Number(value) : usual;
    else state[key] = value;
  }
  return state;
}

/** The address of a state: only what differs from the defaults. */
export function toAddress(state) {
  const given = new URLSearchParams();
  for (const [key, name] of Object.entries(NAMES)) {
    const value = state[key];
    if (value === DEFAULTS[key]) continue;
    if (typeof value === "boolean") given.set(name, value ? "1" : "0");
    else given.set(name, key === "size" ? SIZES[value] : value);
  }
  const text = given.toString();
  return text ? `?${text}` : location.pathname;
}

export const asks = (state) => Boolean(state.text.trim() || state.url || state.image || state.id !== null);

/** How many filters are set. */
export const filtered = (state) => FILTERS.filter((key) => state[key] !== DEFAULTS[key]).length;

/** The body of `/api/search` for a page of results. */
export function toRequest(state, about, { num, offset, seed }) {
  const has = (column) => about.columns.includes(column);
  const filter = {};
  if (state.language && has("language")) filter.language = [state.language === "none" ? "" : state.language];
  if (state.similarity > DEFAULTS.similarity && has("similarity")) filter.min_similarity = state.similarity;
  if (state.size && has("width")) filter.min_width = filter.min_height = SIZES[state.size];
  if (state.watermark < 1 && has("pwatermark")) filter.max_pwatermark = state.watermark;
  if (state.host.trim() && has("host")) filter.host = state.host.trim();
  const body = {
    index: about.name, filter, num, offset, seed, safe: state.safe, deduplicate: state.unique,
    text: state.text, image_url: state.url, image: state.image,
  };
  if (state.id !== null) body.id = state.id;
  return body;
}
