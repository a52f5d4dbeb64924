// One run, or several over each other: curves that live, alarms, weights, fields.

import { colour, makeChart } from "./charts.js";
import { badge, choice, h, label, say } from "./elements.js";
import { curves, runs, sayField, short, subscribe, title, varied } from "./live.js";
import { ago, progress } from "./runs.js";
import { showWeights } from "./weights.js";

let measure = "relative_distance";

export function show(view, keys) {
  const isAlone = keys.length === 1;
  const head = h("section", { className: "head" });
  const absent = h("section");
  const alarms = h("section", { className: "alarms" });
  const grid = h("section", { className: "grid" });
  const chosen = h("div", { className: "bar" });
  const below = h("div");
  view.append(head, absent, alarms, chosen, grid, below);
  const charts = new Map();
  const compared = makeComparison();
  subscribe(keys);

  function chart(id, caption, options) {
    if (!charts.has(id)) {
      const made = makeChart(caption, { ...options, named: isAlone });
      charts.set(id, made);
      grid.append(made.figure);
    }
    return charts.get(id);
  }

  function draw() {
    const known = keys.map((key) => curves.get(key)).filter(Boolean);
    if (!known.length) return;
    const clock = known[0].clock;
    const of = isAlone ? linesOfOne(known[0]) : linesOfSeveral(known);
    for (const [id, { caption, log, lines }] of of) chart(id, caption, { log, clock }).update(lines);
    for (const [id, made] of charts) if (!of.has(id)) made.update([]);
    offerMeasures(known);
  }

  function offerMeasures(known) {
    const names = [...new Set(known.flatMap((one) => Object.keys(one.layers)))];
    if (!names.includes(measure) && names.length) [measure] = names;
    const options = names.map((name) => [name, known.find((one) => name in one.layers).layers[name].long_name]);
    if (chosen.dataset.options === JSON.stringify(options) || !names.length) return;
    chosen.dataset.options = JSON.stringify(options);
    chosen.replaceChildren(choice("By layer:", options, measure, (name) => {
      measure = name;
      charts.get("layers")?.figure.querySelector("figcaption").replaceChildren(captionOf(known, name));
      draw();
    }));
  }

  function describe() {
    const missing = keys.filter((key) => !runs.has(key));
    const here = keys.map((key) => runs.get(key)).filter(Boolean);
    document.title = `${here.map((run) => title(run)).join(" | ") || "no run"} – birthmark`;
    if (isAlone && here.length) {
      head.replaceChildren(...describeOne(here[0]));
      if (!below.hasChildNodes()) showBelow(below, here[0]);
    }
    else if (here.length) {
      const table = compared(here);
      if (!table.isConnected) head.replaceChildren(h("h2", {}, `${here.length} runs over each other`), table);
    }
    const problem = `No run ${missing.join(", ")} in this store.`;
    absent.replaceChildren(...(missing.length ? [h("p", { className: "problem" }, problem)] : []));
    const found = here.flatMap((run) => run.alarms.map((alarm) => ({ ...alarm, run })));
    alarms.replaceChildren(...listAlarms(found, here));
  }

  describe();
  draw();
  return (kind) => (kind === "runs" ? describe() : draw());
}

function describeOne(run) {
  const facts = [`key ${run.key}`, run.kind, `changed ${ago(run.changed)}`];
  const varying = varied().filter((name) => name in run.fields);
  return [
    h("h2", {}, title(run)),
    h("p", {}, badge(run), " ", progress(run), "  ",
      h("span", { className: "note" }, facts.join(" · "))),
    run.state === "interrupted"
      ? h("p", { className: "problem" }, "Its writer has gone without a word (killed, or the machine was switched off). What was recorded is kept; start the same command to go on.")
      : null,
    run.problem ? h("p", { className: "problem" }, run.problem) : null,
    h("dl", { className: "tiles" }, [
      ...varying.slice(0, 4).map((name) => tile(short(name), sayField(run.fields[name]))),
      ...["train_loss", "loss", "test_accuracy", "relative_distance", "mark_auc", "learners", "regime"]
        .filter((name) => name in run.outcomes)
        .map((name) => tile(label(name), say(run.outcomes[name]))),
    ]),
  ].filter(Boolean);
}

const tile = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

const apart = (here) => varied().filter((name) =>
  new Set(here.map((run) => JSON.stringify(run.fields[name]))).size > 1);

/** A table of runs, in which later only what moves is put anew. */
function makeComparison() {
  let [table, shape] = [null, ""];
  return (here) => {
    const names = apart(here);
    const now = JSON.stringify([names, here.map((run) => run.key)]);
    if (now !== shape) [table, shape] = [compareFields(here, names), now];
    else here.forEach((run, n) => tell(table.querySelectorAll("tbody tr")[n].cells, run));
    return table;
  };
}

function tell({ 2: state, 3: at }, run) {
  state.replaceChildren(badge(run));
  at.replaceChildren(progress(run));
}

function compareFields(here, names) {
  return h("div", { className: "wide" }, h("table", {},
    h("thead", {}, h("tr", {}, ["", "run", "state", "at", ...names.map(short)].map((name) => h("th", {}, name)))),
    h("tbody", {}, here.map((run, n) => {
      const swatch = h("i", { className: "swatch" });
      swatch.style.background = colour(n);
      return h("tr", {}, h("td", {}, swatch), h("td", {}, h("a", { href: `#/runs/${run.key}` }, title(run, names))),
        h("td", {}, badge(run)), h("td", {}, progress(run)),
        names.map((name) => h("td", {}, sayField(run.fields[name]))));
    }))));
}

function listAlarms(found, here) {
  if (!found.length) return [];
  const [most, names] = [8, apart(here)];
  return [
    h("h3", {}, `${found.length} alarm${found.length > 1 ? "s" : ""}`),
    h("ul", {}, found.slice(0, most).map(({ what, at, replica, run }) =>
      h("li", {}, `${what} at ${run.clock} ${say(at)}, replica ${replica}`,
        here.length > 1 ? ` (${title(run, names)})` : null))),
    found.length > most ? h("p", { className: "note" }, `and ${found.length - most} more`) : null,
  ].filter(Boolean);
}

function showBelow(below, run) {
  const weights = h("section");
  const rows = Object.entries(run.fields).map(([name, value]) =>
    h("tr", {}, h("th", {}, name), h("td", {}, sayField(value))));
  below.append(weights, h("details", {}, h("summary", {}, "All fields"),
    h("div", { className: "wide" }, h("table", {}, h("tbody", {}, rows)))));
  showWeights(weights, run.key);
}

// Which lines stand in which chart -------------------------------------------------

const kindOf = (name) =>
  name.includes("loss") ? "loss" : name.includes("accuracy") ? "accuracy" : "other";
const CAPTIONS = { loss: "Loss", accuracy: "Accuracy", other: "Counts and others" };

function captionOf(known, name) {
  const found = known.find((one) => name in one.layers)?.layers[name];
  return found ? `${capital(found.long_name)}${found.units && found.units !== "1" ? ` (${found.units})` : ""}` : name;
}
const capital = (text) => text[0].toUpperCase() + text.slice(1);

function linesOfOne({ x, metrics, layers }) {
  const of = new Map();
  for (const [name, { mean }] of Object.entries(metrics)) {
    if (mean.every((value) => value === null || value === 0)) continue;
    const kind = kindOf(name);
    if (!of.has(kind)) of.set(kind, { caption: CAPTIONS[kind], log: kind === "loss", lines: [] });
    const { lines } = of.get(kind);
    lines.push({ name: label(name), x, y: mean, colour: colour(lines.length) });
  }
  if (layers[measure]) of.set("layers", layered(x, layers, measure));
  if (layers.mark_auc && measure !== "mark_auc") of.set("mark", { ...layered(x, layers, "mark_auc"), caption: "Retention of the mark (AUC: 1 perfect, 0.5 gone)" });
  return of;
}

function layered(x, layers, name) {
  const lines = Object.entries(layers[name].of).map(([layer, { mean }], n) =>
    ({ name: /^\d/.test(layer) ? `layer ${layer}` : layer, x, y: mean, colour: colour(n) }));
  return { caption: captionOf([{ layers }], name), log: false, lines };
}

function linesOfSeveral(known) {
  const of = new Map();
  const names = apart(known.map(({ key }) => runs.get(key)).filter(Boolean));
  const put = (id, caption, log, one, y) => {
    if (!y || y.every((value) => value === null)) return;
    if (!of.has(id)) of.set(id, { caption, log, lines: [] });
    const run = runs.get(one.key);
    of.get(id).lines.push({
      name: run ? title(run, names) : one.key.slice(0, 8), href: `#/runs/${one.key}`,
      x: one.x, y, colour: colour(known.indexOf(one)),
    });
  };
  for (const one of known) {
    for (const [name, { mean, long_name }] of Object.entries(one.metrics)) {
      if (kindOf(name) === "other") continue;
      put(name, capital(long_name), kindOf(name) === "loss", one, mean);
    }
    const middle = (found) => {
      const names = Object.keys(found.of);
      return found.of[names[Math.max(names.length - 2, 0)]].mean;
    };
    if (one.layers[measure]) put("layers", captionOf(known, measure), false, one, middle(one.layers[measure]));
    if (one.layers.mark_auc) put("mark", "Retention of the mark (AUC: 1 perfect, 0.5 gone)", false, one, Object.values(one.layers.mark_auc.of)[0].mean);
  }
  return of;
}
