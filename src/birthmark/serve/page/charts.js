// Live lines by uPlot (MIT, vendor/): one chart keeps its canvas while data come in.

import { h, say } from "./elements.js";

const beside = (name) => new URL(name, import.meta.url).href;
await new Promise((onload, onerror) => { // a plain script, fetched with the first chart
  document.head.append(
    h("link", { rel: "stylesheet", href: beside("uPlot.min.css") }),
    h("script", { src: beside("uPlot.iife.min.js"), onload, onerror }),
  );
});

const COLOURS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#8c6d1f", "#56b4e9",
  "#7f3c8d", "#4d7c0f", "#b91c1c", "#0f766e"];
const HEIGHT = 220;
const all = new Set();
const waiting = new Map(); // charts with lines that are still to be drawn

export const colour = (n) => COLOURS[n % COLOURS.length];

/**
 * A figure with a chart; `update(lines)` draws {name, x, y, colour} anew. Lines that are
 * not named are said under it only while the pointer is in the chart.
 */
export function makeChart(caption, { log = false, clock = "epoch", named = true } = {}) {
  removeLeft();
  const place = h("div", { className: "plot" });
  const legend = h("p", { className: "legend" });
  const figure = h("figure", {}, h("figcaption", {}, caption), place, legend);
  let plot = null;
  let names = "";
  let lines = [];

  function make() {
    plot?.destroy();
    const style = getComputedStyle(document.body);
    const axis = {
      stroke: style.getPropertyValue("--faint"), font: "12px system-ui, sans-serif",
      grid: { stroke: style.getPropertyValue("--line"), width: 1 },
      ticks: { stroke: style.getPropertyValue("--line"), width: 1 },
    };
    plot = new uPlot({
      width: Math.max(place.clientWidth, 200), height: HEIGHT,
      legend: { show: false }, cursor: { drag: { x: true, y: false } },
      scales: { x: { time: false }, y: log ? { distr: 3 } : {} },
      axes: [
        { ...axis, label: `${clock}s`, labelSize: 18, labelFont: axis.font, size: 34 },
        { ...axis, size: 62, values: (_, ticks) => ticks.map((t) => (t === null ? "" : say(t))) },
      ],
      series: [{}, ...lines.map((line) => ({
        label: line.name, stroke: line.colour, width: 1.75, dash: line.dash,
        points: { show: line.x.length < 3 }, spanGaps: true,
      }))],
      hooks: { setCursor: [(u) => showLegend(u.cursor.idx)] },
    }, align(), place);
  }

  function align() {
    if (!lines.length) return [[0], []];
    const positive = (y) => (log ? y.map((v) => (v > 0 ? v : null)) : y);
    return uPlot.join(lines.map(({ x, y }) => [x, positive(y)]));
  }

  function showLegend(at = null) {
    const data = plot?.data;
    legend.replaceChildren(...(named || at != null ? lines : []).map((line, i) => {
      const values = data?.[i + 1] ?? [];
      const value = at == null ? line.y.findLast((v) => v !== null) : values[at];
      const swatch = h("i");
      swatch.style.background = line.colour;
      const name = line.href ? h("a", { href: line.href }, line.name) : line.name;
      return h("span", {}, swatch, name, ` ${say(value)}`);
    }));
  }

  const chart = {
    figure,
    update(newLines) {
      if (!waiting.size) requestAnimationFrame(drawWaiting);
      waiting.set(chart, newLines);
    },
    draw(newLines) {
      lines = newLines;
      figure.hidden = !lines.length;
      if (!lines.length) return;
      const now = JSON.stringify(lines.map(({ name, colour, x }) => [name, colour, x.length < 3]));
      if (plot === null || now !== names) make();
      else plot.setData(align());
      names = now;
      showLegend();
    },
    resize() {
      plot?.setSize({ width: Math.max(place.clientWidth, 200), height: HEIGHT });
    },
    redraw() {
      if (plot) make();
    },
    remove() {
      plot?.destroy();
      waiting.delete(chart);
      all.delete(chart);
    },
  };
  all.add(chart);
  new ResizeObserver(() => chart.resize()).observe(place);
  return chart;
}

/** One chart a frame: uPlot draws after the call, and the browser paints it later still. */
function drawWaiting() {
  const [chart, lines] = waiting.entries().next().value ?? [];
  waiting.delete(chart);
  if (chart?.figure.isConnected) chart.draw(lines);
  if (waiting.size) requestAnimationFrame(drawWaiting);
}

/** Forget the charts of views that were left. */
function removeLeft() {
  for (const chart of [...all]) if (!chart.figure.isConnected) chart.remove();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const chart of all) chart.redraw();
});
