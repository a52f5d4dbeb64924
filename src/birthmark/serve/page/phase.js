// The phase diagram: any two fields, any outcome; a cell leads to its runs.

import { choice, h, label, say } from "./elements.js";
import { runs, sayField, short, varied } from "./live.js";
import { compareValues } from "./runs.js";

const [BLUE, AMBER, RED, GREY, GREEN] = [
  ["#0072b2", "#ffffff"], ["#e69f00", "#111111"], ["#b91c1c", "#ffffff"],
  ["#c4c9cf", "#111111"], ["#0f766e", "#ffffff"],
];
const CATEGORIES = {
  strong: BLUE, weak: AMBER, unstable: RED, undecided: GREY,
  "high trainability": BLUE, "low trainability": AMBER, untrainability: RED,
  done: BLUE, running: GREEN, stopped: GREY, interrupted: AMBER, damaged: RED,
};
const asked = { x: "", y: "", value: "" };

export function show(view) {
  const bar = h("div", { className: "bar" });
  const map = h("div", { className: "wide" });
  const note = h("p", { className: "note", role: "status" });
  view.append(bar, map, note);

  function draw() {
    const fields = varied();
    if (!fields.length) {
      map.replaceChildren();
      bar.replaceChildren();
      note.textContent = "All runs have the same fields: a diagram needs some that differ, as a sweep makes them.";
      return;
    }
    if (!fields.includes(asked.x)) [asked.x] = fields;
    if (!fields.includes(asked.y) || asked.y === asked.x) {
      asked.y = fields.find((name) => name !== asked.x) ?? asked.x;
    }
    const outcomes = [...new Set([...runs.values()].flatMap((run) => Object.keys(run.outcomes)))].filter((name) => name !== "learners").concat("state");
    if (!outcomes.includes(asked.value)) {
      asked.value = ["learner", "train_loss", "loss"].find((name) => outcomes.includes(name)) ?? outcomes[0];
    }
    const named = (names) => names.map((name) => [name, label(name)]);
    const choose = (which) => (name) => { asked[which] = name; draw(); };
    const held = document.activeElement?.closest?.("label")?.textContent.slice(0, 4);
    bar.replaceChildren(
      choice("Across", named(fields), asked.x, choose("x")),
      choice("Down", named(fields), asked.y, choose("y")),
      choice("Shown", named(outcomes), asked.value, choose("value")),
    );
    if (held) [...bar.children].find((one) => one.textContent.startsWith(held))?.lastChild.focus();
    drawMap();
  }

  function drawMap() {
    const cells = new Map();
    const placed = [...runs.values()].filter((run) => asked.x in run.fields && asked.y in run.fields);
    for (const run of placed) {
      const at = JSON.stringify([run.fields[asked.x] ?? null, run.fields[asked.y] ?? null]);
      cells.set(at, [...(cells.get(at) ?? []), run]);
    }
    const places = [...cells.keys()].map((key) => JSON.parse(key));
    const along = (n) => [...new Set(places.map((place) => JSON.stringify(place[n])))]
      .map((text) => JSON.parse(text)).sort(compareValues);
    const [across, down] = [along(0), along(1).reverse()];
    const values = new Map([...cells].map(([at, here]) => [at, middle(here.map(valueOf))]));
    const colourOf = scale([...values.values()]);
    const isOne = asked.x === asked.y;
    map.replaceChildren(h("table", { className: "map" },
      h("thead", {}, h("tr", {}, h("th", {}, `${short(asked.y)} ↓ ${short(asked.x)} →`),
        across.map((x) => h("th", {}, sayField(x))))),
      h("tbody", {}, (isOne ? [across[0]] : down).map((y) => h("tr", {},
        h("th", {}, isOne ? "" : sayField(y)),
        across.map((x) => {
          const at = JSON.stringify(isOne ? [x, x] : [x, y]);
          return h("td", {}, cells.has(at) ? makeCell(cells.get(at), values.get(at), colourOf) : null);
        }))))));
    const missing = runs.size - placed.length;
    note.textContent = `Each cell: ${typeof [...values.values()].find((v) => v !== null) === "string" ? "the most frequent of" : "the median over"} its runs. Click one, or press Enter on it, to open them.${missing ? ` ${missing} runs do not have both fields.` : ""}`;
  }

  function makeCell(here, value, colourOf) {
    const keys = here.map((run) => run.key);
    const cell = h("a", {
      href: `#/runs/${keys.slice(0, 20).join(",")}`,
      title: `${here.length} run${here.length > 1 ? "s" : ""}`,
    }, say(value));
    const [background, ink] = colourOf(value);
    cell.style.background = background;
    cell.style.color = ink;
    return cell;
  }

  draw();
  return (kind) => kind === "runs" && draw();
}

const valueOf = (run) => (asked.value === "state" ? run.state : run.outcomes[asked.value] ?? null);

function middle(values) {
  const known = values.filter((value) => value !== null);
  if (!known.length) return null;
  if (typeof known[0] === "string") {
    const counts = new Map();
    for (const name of known) counts.set(name, (counts.get(name) ?? 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1])[0][0];
  }
  known.sort((a, b) => a - b);
  const half = known.length >> 1;
  return known.length % 2 ? known[half] : (known[half - 1] + known[half]) / 2;
}

/** From a value to [background, ink]; numbers that span decades go by logarithms. */
function scale(values) {
  const numbers = values.filter((value) => typeof value === "number");
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  const isLog = low > 0 && high / low > 50;
  const place = isLog ? Math.log : (x) => x;
  return (value) => {
    if (value === null) return ["transparent", "inherit"];
    if (typeof value === "string") return CATEGORIES[value] ?? GREY;
    const share = high > low ? (place(value) - place(low)) / (place(high) - place(low)) : 0.5;
    // from light yellow to dark blue: light is low, in both schemes
    const stops = [[255, 247, 188], [127, 188, 187], [12, 44, 132]];
    const from = Math.min(Math.floor(share * 2), 1);
    const rgb = stops[from].map((c, i) => Math.round(c + (stops[from + 1][i] - c) * (share * 2 - from)));
    return [`rgb(${rgb.join(" ")})`, share > 0.6 ? "#ffffff" : "#111111"];
  };
}
