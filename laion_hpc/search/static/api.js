// Talks to the service. What goes wrong is thrown as an Error whose message can be shown.

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
    // Not ours: a proxy's page, or an overloaded server.
  }
  if (!answer.ok) throw new Error(content.error || `The service answered with an error (${answer.status}).`);
  return content;
}

export const indices = () => ask("/api/indices");

export const search = (body, signal) =>
  ask("/api/search", { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" }, signal });

export const item = (index, id) => ask(`/api/item/${id}?index=${encodeURIComponent(index)}`);
