// The views by their addresses, and who is told what has come.

import { removeCharts } from "./charts.js";
import * as findings from "./findings.js";
import { ask, listen, subscribe } from "./live.js";
import * as phase from "./phase.js";
import * as run from "./run.js";
import * as list from "./runs.js";

const view = document.getElementById("view");
let tell = () => {};
let pending = new Map();

function open() {
  const [, name = "runs", keys = ""] = location.hash.split("/");
  removeCharts();
  view.replaceChildren();
  document.title = "birthmark";
  if (name === "runs" && keys) tell = run.show(view, [...new Set(keys.split(","))].slice(0, 20));
  else {
    subscribe([]);
    tell = { phase, findings }[name]?.show(view) ?? list.show(view);
  }
  for (const link of document.querySelectorAll("nav a")) {
    const isHere = link.hash === `#/${keys ? "" : name}`;
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

listen((kind, keys) => {
  if (!pending.size) requestAnimationFrame(flush); // at most once a frame
  pending.set(kind, new Set([...(pending.get(kind) ?? []), ...keys]));
});

function flush() {
  const came = pending;
  pending = new Map();
  for (const [kind, keys] of came) tell(kind, [...keys]);
}

addEventListener("hashchange", () => {
  open();
  view.focus({ preventScroll: true });
  scrollTo(0, 0);
});
open();
document.getElementById("store").textContent = (await ask("/api/store")).name;
