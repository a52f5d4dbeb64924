// What the runs show, in words; how it was found is folded away.

import { h } from "./elements.js";
import { ask } from "./live.js";

export function show(view) {
  const list = h("section", {}, h("p", { className: "note" }, "Looking at all runs …"));
  view.append(h("h2", {}, "Findings"), list);
  let waiting = 0;

  async function draw() {
    try {
      const found = await ask("/api/findings");
      const empty = "Nothing to say yet: findings come from runs that have records.";
      list.replaceChildren(...(found.length ? found.map(describe) : [h("p", { className: "note" }, empty)]));
    } catch (error) {
      list.replaceChildren(h("p", { className: "problem" }, error.message));
    }
  }

  draw();
  return (kind) => {
    if (kind !== "runs") return;
    clearTimeout(waiting); // runs that are being written change all the time
    waiting = setTimeout(() => list.isConnected && draw(), 3000);
  };
}

function describe({ what, why, how, source, level, about, runs }) {
  return h("article", { className: "finding", "data-level": level },
    about ? h("p", { className: "note" }, about) : null,
    h("p", { className: "what" }, what),
    h("details", {}, h("summary", {}, "How this was found"),
      h("p", {}, why), h("p", {}, how), source ? h("p", { className: "note" }, source) : null,
      h("p", {}, h("a", { href: `#/runs/${runs.slice(0, 20).join(",")}` },
        runs.length > 20 ? `the first 20 of its ${runs.length} runs` : `its ${runs.length} runs`))));
}
