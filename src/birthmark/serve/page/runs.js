// The list of runs: filtered, sorted, chosen for comparison; rows change in place.

import { h, label, say } from "./elements.js";
import { runs, sayField, short, title, varied } from "./live.js";

const OUTCOMES = ["train_loss", "loss", "test_loss", "test_accuracy", "accuracy",
  "relative_distance", "mark_auc", "learners"];
const MOST_FIELDS = 5;
const [LONG, MOST_DIGITS] = [18, 37]; // of a text that may be too wide, and of a column
const [LEAST_PX, ABOVE_PX] = [34, 120]; // height of a row, and of what stands above all
const chosen = new Set();
let order = { by: "changed", down: true };
let wanted = "";

export function show(view) {
  let rows = new Map();
  let columns = [];
  let room = []; // of each column, in digits
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
    room = columns.map(({ id, label: name }) => { // bold, a word a line, with an arrow
      const words = name.split(" ").map((word) => 1.1 * digits(word));
      return Math.max(...words) + (order.by === id ? 2 : 0);
    });
    blank = h("tr", { role: "row" },
      h("td", { role: "cell" }, h("input", { type: "checkbox" })),
      columns.map((column) => h("td", { role: "cell", "data-label": column.label }, column.holds?.() ?? [])));
    rows = new Map();
    arrange();
    drawFirst(Math.ceil((innerHeight - ABOVE_PX) / LEAST_PX));
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
    for (let n = 0; n < columns.length; n++) {
      cell = cell.nextSibling;
      const text = columns[n].put(cell, run);
      const more = columns[n].more ?? 0;
      if (text.length + more > room[n] || !PLAIN.test(text)) room[n] = Math.max(room[n], digits(text) + more);
      if (text.length > LONG) cell.classList.add("cut"); // costs layout, so not all are
    }
  }

  /** Rows are laid out alone, so that those out of sight cost nothing. */
  function placeColumns() {
    const widths = room.map((digits) => Math.ceil(Math.min(digits, MOST_DIGITS)));
    const tracks = widths.map((width) => `minmax(calc(${width}ch + 0.7rem), ${width}fr)`).join(" ");
    table.style.setProperty("--columns", tracks);
    const sum = widths.reduce((before, width) => before + width, 0);
    table.style.setProperty("--least", `calc(${sum}ch + ${0.7 * widths.length}rem + 36px)`);
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
    {
      id: "state", label: "state", value: (run) => run.state, more: 2,
      holds: () => h("span", { className: "badge" }),
      put: ({ firstChild: badge }, { state }) => {
        badge.dataset.state = state;
        return write(badge, state);
      },
    },
    {
      id: "run", label: "run", value: (run) => run.name || run.key, more: 1,
      holds: () => h("a"),
      put: ({ firstChild: link }, { key, name }) => {
        link.href = `#/runs/${key}`;
        return write(link, name || key.slice(0, 8));
      },
    },
    ...names.slice(0, MOST_FIELDS).map((name) => ({
      id: name, label: short(name), value: (run) => run.fields[name],
      put: (cell, run) => write(cell, sayField(run.fields[name])),
    })),
    {
      id: "at", label: "at", value: (run) => run.at,
      put: (cell, run) => {
        if (!isUnderWay(run)) return write(cell, sayProgress(run));
        cell.replaceChildren(progress(run));
        return `${"0".repeat(10)}${cell.textContent}`; // as wide as the bar before it
      },
    },
    {
      id: "changed", label: "changed", value: (run) => run.changed,
      put: (cell, run) => write(cell, ago(run.changed)),
    },
    ...(all.some((run) => run.alarms.length) ? [{
      id: "alarms", label: "alarms", value: (run) => run.alarms.length,
      put: (cell, { alarms }) => {
        cell.classList.toggle("warning", alarms.length > 0);
        return write(cell, alarms.length ? String(alarms.length) : "–");
      },
    }] : []),
    ...known.map((name) => ({
      id: name, label: label(name), value: (run) => run.outcomes[name],
      put: (cell, run) => write(cell, say(run.outcomes[name])),
    })),
  ];
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
  return text;
}

/** About as many digits as a text is wide: capitals and other scripts are wider. */
function digits(text) {
  const letters = text.match(/[a-z]/g)?.length ?? 0;
  return (PLAIN.test(text) ? text : text.replace(WIDE, "00")).length - 0.08 * letters;
}
const [PLAIN, WIDE] = [/^[ -?a-~–×]*$/, /[@-Z]|[^ -~–…×]/g];

const isUnderWay = (run) => run.at !== null && run.until && run.state !== "done";

function sayProgress({ at, until, clock }) {
  if (at === null) return "–";
  return until ? `${say(at)} of ${say(until)}` : `${clock} ${say(at)}`;
}

export function progress(run) {
  const text = sayProgress(run);
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
