// What the server has told: runs by key, curves by key, and who wants to know of it.

export const runs = new Map();
export const curves = new Map();
export const LAYERED = ["relative_distance", "deviation_std", "distance", "correlation",
  "sign_flips", "effective_rank", "distinct_units", "mark_auc"];

const RETRY = 2000; // ms
let source = null;
let subscription = { keys: [], names: [] };
let listener = () => {};
let retry = 0;

/** Call this with ("runs" | "curves", keys) whenever something has come. */
export function listen(listening) {
  listener = listening;
}

/** Ask for live curves of these runs; others are told of in the list only. */
export function subscribe(keys, names = []) {
  const same = JSON.stringify({ keys, names }) === JSON.stringify(subscription);
  if (same && source?.readyState < 2) return;
  subscription = { keys, names };
  connect();
}

function connect() {
  clearTimeout(retry);
  source?.close();
  const query = new URLSearchParams();
  if (subscription.keys.length) query.set("runs", subscription.keys.join(","));
  if (subscription.names.length) query.set("names", subscription.names.join(","));
  source = new EventSource(`/api/events?${query}`);
  let isFirst = true;
  source.onopen = () => showConnection("live", "live");
  source.addEventListener("runs", (event) => {
    const came = JSON.parse(event.data);
    if (isFirst) runs.clear(); // all of them: some may be gone
    if (isFirst || came.some(({ key }) => !runs.has(key))) found = null;
    isFirst = false;
    for (const run of came) runs.set(run.key, run);
    listener("runs", came.map((run) => run.key));
  });
  source.addEventListener("curves", (event) => {
    const came = JSON.parse(event.data);
    curves.set(came.key, came);
    listener("curves", [came.key]);
  });
  source.onerror = () => {
    isFirst = true;
    showConnection("lost", "connection lost, trying again …");
    if (source.readyState === EventSource.CLOSED) retry = setTimeout(knock, RETRY);
  };
}

/** After a refusal the browser does not come back by itself. */
async function knock() {
  try {
    const answer = await fetch("/api/store");
    if (answer.status === 403) {
      showConnection("lost", "refused: open the address that birthmark serve prints now");
    }
  } catch {
    // not there yet
  }
  connect();
}

function showConnection(state, text) {
  const status = document.getElementById("connection");
  status.dataset.state = state;
  if (status.textContent !== text) status.textContent = text;
}

/** The answer of the server as it is, or an error with its words. */
export async function ask(path) {
  const answer = await fetch(path);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error ?? answer.statusText);
  return content;
}

/** Dotted names of the fields in which runs differ, the most telling first. */
export function varied() {
  found ??= findVaried(); // fields never change, runs come and go
  return found;
}
let found = null;

function findVaried() {
  const values = new Map();
  for (const run of runs.values()) {
    for (const [name, value] of Object.entries(run.fields)) {
      if (!values.has(name)) values.set(name, new Set());
      values.get(name).add(JSON.stringify(value));
    }
  }
  const count = runs.size;
  const differs = ([name, found]) => found.size > 1 || hasNot(name, count);
  return [...values].filter(differs).map(([name]) => name).sort((a, b) => rank(a) - rank(b));
}

function hasNot(name, count) {
  let having = 0;
  for (const run of runs.values()) if (name in run.fields) having++;
  return having < count && [...runs.values()].every((run) => run.kind !== "spec");
}

const FIRST = ["network.widths", "training.lr", "initialization.name", "data.name",
  "training.loss", "training.batch_size", "run.seed"];
const rank = (name) => (FIRST.indexOf(name) + FIRST.length + 1) % (FIRST.length + 1);

/** What a field is called in the page. */
export const short = (name) => name.split(".").at(-1);

/** What sets a run apart from the others. */
export function title(run, names = varied()) {
  if (run.name) return run.name;
  const words = names.slice(0, 4).filter((name) => run.fields[name] !== null && name in run.fields)
    .map((name) => `${short(name)} ${sayField(run.fields[name])}`);
  return words.join(", ") || run.key.slice(0, 8);
}

export const sayField = (value) =>
  value === null || value === undefined ? "–"
  : Array.isArray(value) ? value.join("×") : String(value);
