// Pictures of weights that were kept: white at 0, full colour from the bound of the start.

import { choice, h } from "./elements.js";
import { ask } from "./live.js";

const NEGATIVE = [[255, 255, 255], [146, 197, 222], [33, 102, 172]];
const POSITIVE = [[255, 255, 255], [244, 165, 130], [178, 24, 43]];

/** The matrix of one layer with a slider over the epochs, where weights were kept. */
export async function showWeights(section, key) {
  const kept = await ask(`/api/runs/${key}/weights`).catch(() => ({ epochs: [] }));
  if (!kept.epochs.length) return;
  let layer = kept.layers.includes(kept.marked) ? kept.marked : kept.layers.at(-2) ?? kept.layers[0];
  const canvas = h("canvas", { className: "matrix", role: "img" });
  const said = h("output");
  const slider = h("input", {
    type: "range", min: 0, max: kept.epochs.length - 1, value: kept.epochs.length - 1,
    ariaLabel: "epoch", oninput: draw,
  });

  async function draw() {
    const epoch = kept.epochs[slider.value];
    said.textContent = `epoch ${epoch}`;
    const query = new URLSearchParams({ layer });
    const found = await ask(`/api/runs/${key}/weights/${epoch}?${query}`);
    if (kept.epochs[slider.value] === epoch) paint(canvas, found);
    canvas.setAttribute("aria-label", `Weights of ${layer} at epoch ${epoch}, ${found.shape.join(" by ")}`);
  }

  section.append(
    h("h3", {}, "Weights, replica 0"),
    h("div", { className: "bar" },
      choice("Layer", kept.layers.map((name) => [name, name]), layer, (name) => { layer = name; draw(); }),
      h("label", {}, "Epoch ", slider), said),
    canvas,
    h("p", { className: "note" }, "White is 0; a colour is full from the largest weight of the start on."),
  );
  await draw();
}

function paint(canvas, { shape: [rows, columns], bound, values }) {
  const bytes = Uint8Array.from(atob(values), (c) => c.charCodeAt(0));
  const numbers = new Float32Array(bytes.buffer);
  canvas.width = columns;
  canvas.height = rows;
  const image = new ImageData(columns, rows);
  numbers.forEach((value, i) => {
    const ramp = value < 0 ? NEGATIVE : POSITIVE;
    const place = Math.min(Math.abs(value) / bound, 1) * 2;
    const from = Math.min(Math.floor(place), 1) || 0;
    for (let c = 0; c < 3; c++) {
      image.data[4 * i + c] = Number.isFinite(value)
        ? ramp[from][c] + (ramp[from + 1][c] - ramp[from][c]) * (place - from) : 0;
    }
    image.data[4 * i + 3] = 255;
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}
