// What the server has told: runs by key, curves by key, and who wants to know of it.

export const runs = new Map();
export const curves = new Map();

const RETRY = 2000; // ms
let source = null;
let version = ""; // of the rows that are here
let subscription = { keys: [], names: [] };
let listener = () => {};
let retry = 0;

/** Call this with ("runs" | "curves", keys) whenever something has come. */
export function listen(listening) {
  listener = listening;
}

/** Take the rows that came with the page. */
export function begin() {
  const came = document.getElementById("rows");
  takeAll(JSON.parse(came.textContent));
  came.remove();
}

function takeAll({ store, version: now, groups }) {
  document.getElementById("store").textContent = store;
  version = now;
  found = null;
  runs.clear(); // some may be gone
  take(groups);
}

/** Keep rows as they are sent: of a group of runs, what they share is said once. */
function take(groups) {
  const came = groups.flatMap(({ fields, runs: rows }) =>
    rows.map((run) => ({ ...run, fields: { ...fields, ...run.fields } })));
  if (came.some(({ key }) => !runs.has(key))) found = null;
  for (const run of came) runs.set(run.key, run);
  return came.map((run) => run.key);
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
  const query = new URLSearchParams({ known: version });
  if (subscription.keys.length) query.set("runs", subscription.keys.join(","));
  if (subscription.names.length) query.set("names", subscription.names.join(","));
  source = new EventSource(`/api/events?${query}`);
  source.onopen = () => showConnection("live", "live");
  source.addEventListener("all", (event) => {
    takeAll(JSON.parse(event.data));
    listener("runs", [...runs.keys()]);
  });
  source.addEventListener("runs", (event) => {
    version = ""; // rows of another version than those of `all`
    listener("runs", take(JSON.parse(event.data)));
  });
  source.addEventListener("curves", (event) => {
    const came = JSON.parse(event.data);
    curves.set(came.key, came);
    listener("curves", [came.key]);
  });
  source.onerror = () => {
    showConnection("lost", "connection lost, trying again …");
    if (source.readyState === EventSource.CLOSED) retry = setTimeout(knock, RETRY);
  };
}

/** After a refusal the browser does not come back by itself. */
async function knock() {
  try {
    const answer = await fetch("/api/runs");
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
  const [firsts, counts, differing] = [new Map(), new Map(), new Set()];
  for (const run of runs.values()) {
    for (const name in run.fields) {
      const value = run.fields[name];
      if (!firsts.has(name)) firsts.set(name, value);
      counts.set(name, (counts.get(name) ?? 0) + 1);
      const first = firsts.get(name);
      if (value !== first && JSON.stringify(value) !== JSON.stringify(first)) differing.add(name);
    }
  }
  const mayLack = [...runs.values()].every((run) => run.kind !== "spec");
  const names = [...firsts.keys()]
    .filter((name) => !name.startsWith("record.")) // what is kept makes no other network
    .filter((name) => differing.has(name) || (mayLack && counts.get(name) < runs.size))
    .sort((a, b) => rank(a) - rank(b));
  return dropAlike(names);
}

/** Of fields that some runs lack and that part the others alike, as those of a mark do, the first. */
function dropAlike(names) {
  const ways = new Set();
  return names.filter((name) => {
    const values = [...runs.values()].map(({ fields }) => fields[name] ?? null);
    if (!values.includes(null)) return true;
    const groups = new Map();
    const way = values.map((value) => {
      const text = JSON.stringify(value);
      if (!groups.has(text)) groups.set(text, groups.size);
      return groups.get(text);
    }).join();
    return !ways.has(way) && ways.add(way);
  });
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
  : Array.isArray(value) ? value.join("×") || "–" : String(value);
