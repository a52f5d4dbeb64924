// The page: settings, the painted mark, and what the worker reports.
// LETTERS comes before this file: masks of the letter by "rows x columns", packed bits.

const INPUTS = 64;
const BATCH_SIZE = 32;
const STEPS = {
  width: [4, 8, 16, 24, 32, 48, 64, 96, 128],
  lr: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
  until: [1, 5, 10, 20, 30, 40, 60, 100, 200, 500],
};
const COLOURS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#8c6d1f"];
const BRUSH = 0.045; // radius, as a share of the side
const KEPT = 3; // earlier runs that stay as faint lines

const $ = (id) => document.getElementById(id);
const settings = { ...BASE, dtype: "float64" };
let until = 60;
let mark = "letter"; // or "none" or "painted"
let mask = null;
let erasing = false;
let cursor = null; // of the arrow keys: [row, column]
let view = "now";
let now = { epoch: 0, running: false }; // what the worker reported last
let initial = null;
let curves = null; // of this run: {trainLoss, testLoss, distances, label}
let earlier = [];
let pendingTrain = false;
let story = null; // {index, step}

const source = $("worker-source").textContent;
const worker = new Worker(URL.createObjectURL(new Blob([source])));

const rows = () => (settings.depth > 1 ? settings.width : INPUTS);
const columns = () => settings.width;
const isMarked = () => mask !== null && mask.includes(1);

// The mark ------------------------------------------------------------------------

function letterMask() {
  const packed = LETTERS[`${rows()}x${columns()}`];
  if (!packed) return null;
  const bytes = atob(packed);
  return Uint8Array.from({ length: rows() * columns() }, (_, i) =>
    (bytes.charCodeAt(i >> 3) >> (7 - (i & 7))) & 1);
}

/** The mask of the mark at the present size; a painting is carried over. */
function fitMask(oldRows, oldColumns) {
  if (mark === "none") mask = null;
  else if (mark === "letter") mask = letterMask();
  else if (oldRows !== rows() || oldColumns !== columns()) {
    const old = mask;
    mask = Uint8Array.from({ length: rows() * columns() }, (_, i) => {
      const row = Math.floor(((Math.floor(i / columns()) + 0.5) / rows()) * oldRows);
      const column = Math.floor((((i % columns()) + 0.5) / columns()) * oldColumns);
      return old[row * oldColumns + column];
    });
  }
}

function paint(row, column) {
  const [n, m] = [rows(), columns()];
  if (now.step) start();
  mask ??= new Uint8Array(n * m);
  mark = "painted";
  const radius = Math.max(0.5, BRUSH * m);
  mask.forEach((_, i) => {
    const down = ((Math.floor(i / m) - row) * m) / n;
    const across = (i % m) - column;
    if (down * down + across * across <= radius * radius) mask[i] = erasing ? 0 : 1;
  });
  drawWeightsNow();
}

function paintAt(event) {
  const box = $("matrix").getBoundingClientRect();
  paint(
    Math.floor(((event.clientY - box.top) / box.height) * rows()),
    Math.floor(((event.clientX - box.left) / box.width) * columns()),
  );
}

// Training ------------------------------------------------------------------------

/** Begin anew with the settings as they are; train at once if asked to. */
function start({ train = false } = {}) {
  if (curves?.trainLoss.length > 2) earlier = [...earlier, curves].slice(-KEPT);
  curves = null;
  pendingTrain = train;
  worker.postMessage({
    type: "start",
    settings: { ...settings, batchSize: BATCH_SIZE },
    mask: isMarked() ? mask : null,
  });
}

worker.onmessage = ({ data }) => {
  if (data.type === "weights") return saveWeights(data);
  if (data.fresh) {
    initial = data.initial;
    curves = { trainLoss: [], testLoss: [], distances: data.layers.map(() => []) };
  }
  if (!curves) return undefined; // of a run that was left
  for (const epoch of data.epochs) {
    curves.trainLoss.push(epoch.trainLoss);
    curves.testLoss.push(epoch.testLoss);
    epoch.distances.forEach((value, layer) => curves.distances[layer].push(value));
  }
  now = { ...now, ...data.epochs.at(-1), ...data };
  if (data.fresh && pendingTrain) train();
  draw();
  return undefined;
};
worker.onerror = (error) => {
  $("verdict").textContent = `The training stopped: ${error.message}. Reload the page.`;
};

function train() {
  pendingTrain = !now.matrix; // the worker has not reported yet
  if (pendingTrain) return;
  now.running = true;
  worker.postMessage({ type: "train", until });
}

function changeSettings(change, { train: atOnce = false } = {}) {
  const [oldRows, oldColumns] = [rows(), columns()];
  Object.assign(settings, change);
  fitMask(oldRows, oldColumns);
  showSettings();
  start({ train: atOnce });
}

// What is shown -------------------------------------------------------------------

function drawWeightsNow() {
  if (!now.matrix) return;
  const w = now.matrix;
  let values = view === "start" ? initial : w;
  if (view === "deviation") values = w.map((x, i) => x - initial[i]);
  if (!now.step && isMarked() && view !== "deviation") {
    values = values.map((x, i) => (mask[i] ? 0 : x)); // painted, not yet started
  }
  drawMatrix($("matrix"), values, rows(), columns(), now.bound);
  const low = columns() < 8 ? 0 : 1; // a cursor of the keys, where it stands
  if (cursor) outlineCursor(low);
}

function outlineCursor(size) {
  const context = $("matrix").getContext("2d");
  context.fillStyle = "#000";
  context.fillRect(cursor[1], cursor[0], Math.max(size, 1), Math.max(size, 1));
}

function draw() {
  if (!now.matrix) return;
  drawWeightsNow();
  const value = (text, id) => ($(id).textContent = text);
  const trained = now.epoch > 0;
  value(`${now.epoch}`, "epoch");
  value(Number.isFinite(now.testAccuracy) ? percent(now.testAccuracy) : "–", "accuracy");
  value(Number.isFinite(now.retention) ? percent(now.retention) : "no mark", "retention");
  value(`${now.units} of ${columns()}`, "units");
  value(trained ? `${whole(now.abandoned)} of ${whole(now.examples)}` : "–", "abandoned");
  value(now.regime, "regime");
  $("regime").dataset.regime = now.regime;
  value(verdict(), "verdict");
  value(now.running ? "Pause" : now.epoch >= until ? "Train on" : "Train", "train");
  value(`−${now.bound.toFixed(2)}`, "bound-low");
  value(`+${now.bound.toFixed(2)}`, "bound-high");
  const layer = settings.depth > 1 ? "from hidden layer 1 to 2" : "from pixels to hidden layer 1";
  $("matrix").setAttribute("aria-label",
    `Weights ${layer}, ${rows()} by ${columns()}: ${$("verdict").textContent}`);
  drawCurves();
  $("python").textContent = pythonCode();
  if (story) showStory();
}

function verdict() {
  if (pendingTrain || !now.epoch) {
    if (mark === "letter" && !mask) return "At this width no letter fits. Take a wider network.";
    return isMarked() ? "The start: a mark in random weights. Press Train." : "The start. Press Train, or draw a mark first.";
  }
  if (!Number.isFinite(now.testLoss)) return "The weights ran off to infinity: training has failed.";
  const learned = `${percent(now.testAccuracy)} of the test digits right`;
  if (!Number.isFinite(now.retention)) return `After ${now.epoch} epochs: ${learned}.`;
  const fate =
    now.retention > 0.8 ? "the mark is still easy to read"
    : now.retention > 0.65 ? "the mark is fading"
    : "the mark is nearly gone";
  return `After ${now.epoch} epochs: ${learned}, and ${fate}.`;
}

function drawCurves() {
  const line = (name, values, colour, more) => ({ name, values, colour, ...more });
  const faint = (values) => line("", values, "#8888", { width: 1.25 });
  const losses = [
    line("train", curves.trainLoss, COLOURS[0]),
    line("test", curves.testLoss, COLOURS[1], { dash: [5, 3] }),
  ];
  const distances = curves.distances.map((values, i) => {
    const marked = i === (settings.depth > 1 ? 1 : 0);
    const name = now.layers[i] + (marked ? " (the square)" : "");
    return line(name, values, COLOURS[i], { width: marked ? 3 : 1.5 });
  });
  const ghosts = (pick) => earlier.map((run) => faint(pick(run)));
  drawLines($("loss-chart"), [...ghosts((run) => run.trainLoss), ...losses], { log: true });
  drawLines($("distance-chart"), [
    ...ghosts((run) => run.distances[Math.min(1, run.distances.length - 2)]), ...distances,
  ]);
  legend("loss-legend", losses);
  legend("distance-legend", distances);
  const last = (values) => number(values.at(-1), 3);
  $("loss-chart").setAttribute("aria-label",
    losses.map(({ name, values }) => `${name} loss now ${last(values)}`).join(", "));
  $("distance-chart").setAttribute("aria-label",
    distances.map(({ name, values }) => `${name}: ${last(values)}`).join(", "));
}

function legend(id, lines) {
  const names = lines.map(({ name, colour }) => {
    const entry = document.createElement("span");
    entry.textContent = name;
    entry.style.setProperty("--colour", colour);
    return entry;
  });
  if (earlier.length) {
    const entry = document.createElement("span");
    entry.textContent = "earlier runs";
    entry.style.setProperty("--colour", "#888");
    names.push(entry);
  }
  $(id).replaceChildren(...names);
}

function showSettings() {
  for (const name of ["width", "lr"]) {
    $(name).value = STEPS[name].indexOf(settings[name]);
    $(`${name}-value`).textContent = settings[name];
  }
  $("until").value = STEPS.until.indexOf(until);
  $("until-value").textContent = until;
  $("depth").value = settings.depth;
  $("depth-value").textContent = settings.depth;
  for (const name of ["initialization", "loss", "dtype"]) $(name).value = settings[name];
}

// The library ---------------------------------------------------------------------

function pythonCode() {
  const name = settings.initialization;
  const rule =
    name === "half" ? '{"name": "constant", "value": 0.5}' : `{"name": "${name}"}`;
  const layer = settings.depth > 1 ? "hidden2" : "hidden1";
  const lines = [
    "import birthmark as bm",
    "",
    "spec = bm.RunSpec(",
    '    data={"name": "digits"},',
    `    network={"widths": (${Array(settings.depth).fill(settings.width).join(", ")},)},`,
    `    initialization=${rule},`,
    ...(mark === "letter" && mask ? [`    mark={"text": "a", "layer": "${layer}"},`] : []),
    `    training={"loss": "${settings.loss}", "lr": ${settings.lr}, "batch_size": ${BATCH_SIZE}, "epochs": ${Math.max(now.epoch, 1)}},`,
    `    run={"replicas": 1, "seed": ${settings.seed}, "dtype": "${settings.dtype}"},`,
    ")",
    "*_, end = bm.train(spec)",
    `end.weights["${layer}"].w[0]`,
  ];
  if (mark === "painted" && isMarked()) lines.push("# without the mark that you painted");
  if (settings.order) lines.push("# and in the order of replica 0; the page has another");
  return lines.join("\n");
}

function saveWeights({ step, layers }) {
  const plain = layers.map(({ w, b, ...layer }) => ({ ...layer, w: [...w], b: [...b] }));
  const text = JSON.stringify({ settings, batch_size: BATCH_SIZE, step, layers: plain });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = `weights-epoch${now.epoch}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
}

// Stories -------------------------------------------------------------------------

function openStory(index, step) {
  story = { index, step };
  if (!step) earlier = [];
  const scene = STORIES[index].steps[step];
  until = scene.until;
  mark = scene.mark;
  now.epoch = 0;
  changeSettings(scene.settings, { train: true });
  showStory();
  $("story").scrollIntoView({ block: "nearest", behavior: "smooth" });
}

function showStory() {
  const { title, steps } = STORIES[story.index];
  const scene = steps[story.step];
  const done = !pendingTrain && !now.running && now.epoch >= scene.until;
  const texts = [scene.before, done ? scene.after(now) : "Training …"];
  $("story").hidden = false;
  $("story-title").textContent = `${title} (${story.step + 1} of ${steps.length})`;
  $("story-text").textContent = texts.join(" ");
  $("story-back").disabled = !story.step;
  $("story-next").disabled = !done || story.step + 1 === steps.length;
  for (const [i, button] of [...$("stories").querySelectorAll("button")].entries()) {
    button.setAttribute("aria-pressed", String(i === story.index));
  }
}

function leaveStory() {
  if (!story) return;
  story = null;
  $("story").hidden = true;
  for (const button of $("stories").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", "false");
  }
}

// Hands ---------------------------------------------------------------------------

function listen() {
  STORIES.forEach(({ title }, index) => {
    const button = document.createElement("button");
    button.textContent = title;
    button.onclick = () => openStory(index, 0);
    $("stories").append(button);
  });
  $("story-next").onclick = () => openStory(story.index, story.step + 1);
  $("story-back").onclick = () => openStory(story.index, story.step - 1);
  $("story-close").onclick = leaveStory;

  for (const name of ["width", "lr"]) {
    $(name).max = STEPS[name].length - 1;
    $(name).oninput = () => byHand({ [name]: STEPS[name][$(name).value] });
  }
  $("until").max = STEPS.until.length - 1;
  $("until").oninput = () => {
    until = STEPS.until[$("until").value];
    showSettings();
    if (now.running) train();
    else draw();
  };
  $("depth").oninput = () => byHand({ depth: Number($("depth").value) });
  for (const name of ["initialization", "loss", "dtype"]) {
    $(name).onchange = () => byHand({ [name]: $(name).value });
  }

  $("train").onclick = () => {
    if (now.running) return worker.postMessage({ type: "pause" });
    if (now.epoch >= until) {
      until = STEPS.until.find((epochs) => epochs > now.epoch) ?? now.epoch + 500;
      showSettings();
    }
    return train();
  };
  $("reset").onclick = () => byHand({});
  $("order").onclick = () => byHand({ order: settings.order + 1 }, true);
  $("seed").onclick = () => byHand({ seed: settings.seed + 1, order: 0 });
  $("save").onclick = () => worker.postMessage({ type: "weights" });

  for (const button of document.querySelectorAll("[data-view]")) {
    button.onclick = () => {
      view = button.dataset.view;
      for (const other of document.querySelectorAll("[data-view]")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      drawWeightsNow();
    };
  }
  $("letter").onclick = () => setMark("letter");
  $("clear").onclick = () => setMark("none");
  $("rub").onclick = () => {
    erasing = !erasing;
    $("rub").setAttribute("aria-pressed", String(erasing));
  };
  listenToPainting($("matrix"));
  new ResizeObserver(() => curves && drawCurves()).observe($("loss-chart"));
  matchMedia("(prefers-color-scheme: dark)").onchange = () => curves && drawCurves();
}

function byHand(change, atOnce = false) {
  leaveStory();
  changeSettings(change, { train: atOnce });
}

function setMark(name) {
  leaveStory();
  mark = name;
  changeSettings({});
}

function listenToPainting(canvas) {
  canvas.onpointerdown = (event) => {
    leaveStory();
    cursor = null;
    canvas.setPointerCapture(event.pointerId);
    paintAt(event);
  };
  canvas.onpointermove = (event) => event.buttons && paintAt(event);
  canvas.onpointerup = () => start();
  canvas.onkeydown = (event) => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const move = moves[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    cursor ??= [rows() >> 1, columns() >> 1];
    if (move) {
      const within = (x, size) => Math.min(Math.max(x, 0), size - 1);
      cursor = [within(cursor[0] + move[0], rows()), within(cursor[1] + move[1], columns())];
      drawWeightsNow();
    } else {
      leaveStory();
      paint(...cursor);
      start();
    }
  };
  canvas.onblur = () => {
    cursor = null;
    drawWeightsNow();
  };
}

listen();
fitMask(rows(), columns());
showSettings();
start();
