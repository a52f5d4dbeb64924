// The list of runs: filtered, sorted, chosen for comparison; rows change in place.

import { badge, h, label, say } from "./elements.js";
import { runs, sayField, short, title, varied } from "./live.js";

const OUTCOMES = ["train_loss", "loss", "test_loss", "test_accuracy", "accuracy",
  "relative_distance", "mark_auc", "learners"];
const MOST_FIELDS = 5;
const MOST_PX = 280; // of a column, but for its padding
const LEAST_PX = 30; // height of a row
const pen = document.createElement("canvas").getContext("2d");
const chosen = new Set();
let order = { by: "changed", down: true };
let wanted = "";

export function show(view) {
  let rows = new Map();
  let columns = [];
  let longest = []; // what takes most room in a column
  let blank = null; // an empty row, copied for each run
  const body = h("tbody", { role: "rowgroup", onchange: ({ target }) => {
    const { key } = target.closest("tr").dataset;
    chosen[target.checked ? "add" : "delete"](key);
    offerComparison();
  } });
  const head = h("thead", { role: "rowgroup" });
  const table = h("table", { className: "runs", role: "table" }, head, body);
  const note = h("p", { className: "note", role: "status" });
  const compare = h("a", { className: "button" }, "Compare");
  const filter = h("input", {
    type: "search", placeholder: "state, name, field or value", value: wanted,
    oninput: () => { wanted = filter.value; arrange(); },
  });
  view.append(
    h("div", { className: "bar" }, h("label", {}, "Filter ", filter), compare, note),
    h("div", { className: "wide" }, table),
  );
  offerComparison();

  function rebuild() {
    columns = findColumns();
    head.replaceChildren(h("tr", { role: "row" },
      h("th", { role: "columnheader" }, h("span", { className: "hidden" }, "choose")),
      columns.map((column) => {
        const isBy = order.by === column.id;
        return h("th", { role: "columnheader", "aria-sort": isBy ? (order.down ? "descending" : "ascending") : "none" },
          h("button", { onclick: () => sortBy(column.id) },
            column.label + (isBy ? (order.down ? " ↓" : " ↑") : "")));
      })));
    longest = columns.map(() => ["", 0]);
    blank = h("tr", { role: "row" },
      h("td", { role: "cell" }, h("input", { type: "checkbox" })),
      columns.map((column) => h("td", { role: "cell", "data-label": column.label })));
    rows = new Map();
    arrange();
    drawFirst(Math.ceil(innerHeight / LEAST_PX));
  }

  /** Rows that fill the window are laid out first, the others when these are seen. */
  function drawFirst(count) {
    const others = [...body.rows].slice(count);
    for (const row of others) row.classList.add("later");
    requestAnimationFrame(() => requestAnimationFrame(() => {
      for (const row of others) row.classList.remove("later");
    }));
  }

  function arrange() {
    const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = [...runs.values()].filter((run) => !words.length || has(run, words));
    const column = columns.find(({ id }) => id === order.by) ?? columns[0];
    const sign = order.down ? -1 : 1;
    shown.sort((a, b) => sign * compareValues(column.value(a), column.value(b)));
    for (const run of shown) if (!rows.has(run.key)) rows.set(run.key, makeRow(run));
    body.replaceChildren(...shown.map((run) => rows.get(run.key)));
    placeColumns();
    note.textContent = runs.size
      ? `${shown.length} of ${runs.size} runs, ${count("running")} running`
      : "No runs yet: they appear here as soon as one starts.";
  }

  function makeRow(run) {
    const row = blank.cloneNode(true);
    row.dataset.key = run.key;
    const box = row.firstChild.firstChild;
    box.checked = chosen.has(run.key);
    box.ariaLabel = `compare ${title(run)}`;
    fill(row, run);
    return row;
  }

  function fill(row, run) {
    let cell = row.firstChild;
    columns.forEach((column, n) => {
      cell = cell.nextSibling;
      const content = column.cell(run);
      const text = content.textContent ?? String(content);
      if (content instanceof Node) cell.replaceChildren(content);
      else cell.textContent = text;
      const more = column.room?.(run) ?? 0;
      if (text.length + more > longest[n][0].length + longest[n][1]) longest[n] = [text, more];
    });
  }

  /** Rows are laid out alone, so that those out of sight cost nothing. */
  function placeColumns() {
    const { fontSize, fontFamily } = getComputedStyle(table);
    const measured = (text, weight) => {
      pen.font = `${weight} ${fontSize} ${fontFamily}`;
      return pen.measureText(text).width;
    };
    const widths = columns.map(({ id, label: name }, n) => {
      const [text, more] = longest[n];
      const title = measured(order.by === id ? `${name} ↓` : name, 600);
      const digit = measured("0", 400);
      return Math.ceil(Math.min(Math.max(title, measured(text, 400) + more * digit), MOST_PX)) + 15;
    });
    const tracks = widths.map((width) => `minmax(${width}px, ${width}fr)`).join(" ");
    table.style.setProperty("--columns", tracks);
    table.style.setProperty("--least", `${widths.reduce((sum, width) => sum + width, 36)}px`);
  }

  function sortBy(id) {
    order = { by: id, down: order.by === id ? !order.down : false };
    rebuild();
  }

  function offerComparison() {
    compare.hidden = chosen.size < 2;
    compare.textContent = `Compare ${chosen.size}`;
    compare.href = `#/runs/${[...chosen].join(",")}`;
  }

  rebuild();
  return (kind, keys) => {
    if (kind !== "runs") return;
    const now = findColumns();
    if (JSON.stringify(now) !== JSON.stringify(columns)) return rebuild();
    for (const key of keys) if (rows.has(key)) fill(rows.get(key), runs.get(key));
    arrange();
  };
}

function findColumns() {
  const names = varied();
  const all = [...runs.values()];
  const known = OUTCOMES.filter((name) => all.some((run) => name in run.outcomes));
  return [
    { id: "state", label: "state", value: (run) => run.state, cell: badge, room: () => 2 },
    {
      id: "run", label: "run", value: (run) => run.name || run.key, room: () => 1,
      cell: (run) => h("a", { href: `#/runs/${run.key}` }, run.name || run.key.slice(0, 8)),
    },
    ...names.slice(0, MOST_FIELDS).map((name) => ({
      id: name, label: short(name), value: (run) => run.fields[name],
      cell: (run) => sayField(run.fields[name]),
    })),
    { id: "at", label: "at", value: (run) => run.at, cell: progress, room: (run) => (isUnderWay(run) ? 10 : 0) },
    {
      id: "alarms", label: "alarms", value: (run) => run.alarms.length,
      cell: ({ alarms }) => (alarms.length ? h("span", { className: "warning" }, alarms.length) : "–"),
    },
    ...known.map((name) => ({
      id: name, label: label(name), value: (run) => run.outcomes[name],
      cell: (run) => say(run.outcomes[name]),
    })),
    { id: "changed", label: "changed", value: (run) => run.changed, cell: (run) => ago(run.changed) },
  ];
}

const isUnderWay = (run) => run.at !== null && run.until && run.state !== "done";

export function progress(run) {
  if (run.at === null) return "–";
  const text = run.until ? `${say(run.at)} of ${say(run.until)}` : `${run.clock} ${say(run.at)}`;
  if (!isUnderWay(run)) return text;
  return h("span", {}, h("progress", { max: run.until, value: run.at, ariaLabel: text }), ` ${text}`);
}

export function ago(seconds) {
  const passed = Date.now() / 1000 - seconds;
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const [size, unit] = units.find(([size]) => passed >= size) ?? [1, "s"];
  return `${Math.max(0, Math.floor(passed / size))} ${unit} ago`;
}

const count = (state) => [...runs.values()].filter((run) => run.state === state).length;

function has(run, words) {
  const fields = Object.entries(run.fields).map(([name, value]) => `${short(name)}=${sayField(value)}`);
  const text = [run.key, run.name, run.state, run.kind, ...fields].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

export function compareValues(a, b) {
  const [x, y] = [a ?? null, b ?? null];
  if (x === null || y === null) return (x === null) - (y === null);
  if (Array.isArray(x) && Array.isArray(y)) {
    const at = x.findIndex((one, i) => one !== y[i]);
    return at < 0 ? x.length - y.length : compareValues(x[at], y[at]);
  }
  if (typeof x === "number" && typeof y === "number") return x - y;
  return String(x).localeCompare(String(y), "en", { numeric: true });
}
