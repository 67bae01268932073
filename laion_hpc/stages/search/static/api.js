// Calls the service. A failure is thrown as an Error; its message is shown to the reader.

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The service does not answer. Is it still running?");
  }
  let content = {};
  try {
    content = await answer.json();
  } catch {
    // The answer is not JSON: a proxy's page, or an overloaded server.
  }
  if (!answer.ok) throw new Error(content.error || `The service answered with an error (${answer.status}).`);
  return content;
}

export const indices = () => ask("/api/indices");

export const search = (body, signal) =>
  ask("/api/search", { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" }, signal });

export const item = (index, id) => ask(`/api/item/${id}?index=${encodeURIComponent(index)}`);

export const histograms = (body, signal) => ask("/api/histograms", { method: "POST", body: JSON.stringify(body), signal });

/** A file of rows, the number of rows in it, and the number of rows that were left out. */
export async function exported(body) {
  let answer;
  try {
    answer = await fetch("/api/export", { method: "POST", body: JSON.stringify(body) });
  } catch {
    throw new Error("The service does not answer. Is it still running?");
  }
  if (!answer.ok) {
    const content = await answer.json().catch(() => ({}));
    throw new Error(content.error || `The service answered with an error (${answer.status}).`);
  }
  const number = (name) => Number(answer.headers.get(name) || 0);
  return { blob: await answer.blob(), rows: number("x-rows"), left: number("x-left-out") };
}
