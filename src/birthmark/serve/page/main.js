// The views by their addresses, and who is told what has come.

import { begin, listen, subscribe } from "./live.js";
import * as list from "./runs.js";

const view = document.getElementById("view");
const others = { phase: "./phase.js", findings: "./findings.js", run: "./run.js" };
let tell = () => {};
let pending = new Map();
let opened = 0;

async function open() {
  const [, name = "runs", keys = ""] = location.hash.split("/");
  const wanted = name === "runs" && keys ? "run" : name;
  const turn = ++opened;
  tell = () => {};
  const { show } = Object.hasOwn(others, wanted) ? await import(others[wanted]) : list;
  if (turn !== opened) return; // another view was asked for while this one was fetched
  view.replaceChildren();
  document.title = "birthmark";
  if (wanted !== "run") subscribe([]);
  tell = show(view, [...new Set(keys.split(","))].slice(0, 20));
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

addEventListener("hashchange", async () => {
  await open();
  view.focus({ preventScroll: true });
  scrollTo(0, 0);
});
begin();
open();
