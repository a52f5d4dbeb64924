// The worker: trains while the page draws, and tells it where the network stands.
// DIGITS comes before this file: {train, test} of {x: base64 of bytes 0 ... 16, y}.

const unpack = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const data = Object.fromEntries(
  Object.entries(DIGITS).map(([half, { x, y }]) => [
    half, { x: Float64Array.from(unpack(x), (pixel) => pixel / 16), y: unpack(y) },
  ]),
);
const counts = new Uint16Array(CLASSES);
data.train.y.forEach((y) => counts[y]++);
const LARGEST_CLASS = Math.max(...counts) / data.train.y.length;

const SLICE = 20; // ms of training between two looks at the messages
const PAUSE = 50; // ms between two reports

let training = null;
let losses = [];
let unreported = []; // metrics of epochs that the page has not seen
let goal = 0; // epoch at which to stop
let reported = 0;
const next = new MessageChannel(); // comes back sooner than a timeout of 0
next.port1.onmessage = work;

onmessage = ({ data: message }) => {
  switch (message.type) {
    case "start":
      training = new Training(message.settings, message.mask, data);
      losses = [];
      unreported = [note({ ...training.evaluate(), trainLoss: NaN })];
      goal = 0;
      report(true);
      break;
    case "train": {
      const idle = training.epoch >= goal;
      goal = message.until;
      if (idle) next.port2.postMessage(null);
      break;
    }
    case "pause":
      goal = 0;
      break;
    case "weights":
      postMessage({
        type: "weights",
        step: training.steps,
        layers: training.layers.map(({ name, fanIn, fanOut, w, b }) => ({
          name, fanIn, fanOut, w, b,
        })),
      });
  }
};

function work() {
  const end = performance.now() + SLICE;
  while (training.epoch < goal && performance.now() < end) {
    const metrics = training.step();
    if (!metrics) continue;
    losses.push(metrics.trainLoss);
    unreported.push(note(metrics));
    break; // a new goal takes effect between two epochs
  }
  const done = training.epoch >= goal;
  if (done || performance.now() > reported + PAUSE) report(false);
  if (!done) next.port2.postMessage(null);
}

function note(metrics) {
  return { ...metrics, distances: training.layers.map(relativeDistance) };
}

function report(fresh) {
  if (!unreported.length && training.epoch < goal) return;
  reported = performance.now();
  const layer = training.layers[training.marked];
  const clips = training.settings.loss === "clipped_cross_entropy";
  postMessage({
    type: "state",
    fresh,
    running: training.epoch < goal,
    epochs: unreported,
    step: training.steps,
    examples: data.train.y.length,
    layers: training.layers.map(({ name }) => name),
    matrix: layer.w.slice(),
    ...(fresh && { initial: layer.initial }),
    bound: layer.bound,
    units: distinctUnits(layer),
    retention: training.mask ? retention(layer, training.mask) : NaN,
    regime: regimeNow(losses, clips, LARGEST_CLASS),
  });
  unreported = [];
}
