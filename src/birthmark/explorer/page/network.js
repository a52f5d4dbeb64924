// A dense relu network under plain SGD, one replica: the library's draws, order of
// batches and steps. Matrices are [fan-in, fan-out], row by row, as `Layer.w` is.

const CLASSES = 10;
const EPS = 1e-7; // of the clipped loss

/** The half-width of the law from which the weights of a layer are drawn. */
function initialBound(initialization, fanIn, fanOut) {
  switch (initialization) {
    case "glorot_uniform":
      return Math.sqrt(3 * (1 / ((fanIn + fanOut) / 2)));
    case "he_uniform":
      return Math.sqrt(3 * (2 / fanIn));
    case "half":
      return 0.5;
    default:
      return 0; // zeros
  }
}

/** The weights [fanIn * fanOut] of one layer before the mark, float64. */
function drawWeights(initialization, seed, name, fanIn, fanOut) {
  const count = fanIn * fanOut;
  if (initialization === "zeros") return new Float64Array(count);
  if (initialization === "half") return new Float64Array(count).fill(0.5);
  const bound = initialBound(initialization, fanIn, fanOut);
  const draws = new Stream(seed, 0, "initial", `${name}.w`).uniforms(count);
  return draws.map((u) => -bound + (bound - -bound) * u);
}

/** One training: where it started, where it stands, and the next step. */
class Training {
  /**
   * settings: width, depth, initialization, loss, lr, batchSize, seed, order (the
   * replica whose order of batches is taken), dtype; mask: [fanIn * fanOut] of the
   * marked layer, 1 under the mark, or null; data: {train, test} of {x, y}.
   */
  constructor(settings, mask, data) {
    this.settings = settings;
    this.data = data;
    this.Floats = settings.dtype === "float32" ? Float32Array : Float64Array;
    const inputs = data.train.x.length / data.train.y.length;
    const sizes = [inputs, ...Array(settings.depth).fill(settings.width), CLASSES];
    this.marked = settings.depth > 1 ? 1 : 0;
    this.layers = sizes.slice(1).map((fanOut, index) => {
      const fanIn = sizes[index];
      const name = index < settings.depth ? `hidden${index + 1}` : "output";
      const drawn = drawWeights(
        settings.initialization, settings.seed, name, fanIn, fanOut,
      );
      if (mask && index === this.marked) mask.forEach((m, i) => m && (drawn[i] = 0));
      const initial = this.Floats.from(drawn);
      const bound = initialBound(settings.initialization, fanIn, fanOut);
      return {
        name, fanIn, fanOut, initial, w: initial.slice(),
        b: new this.Floats(fanOut),
        gradient: new this.Floats(fanIn * fanOut),
        bound: bound || fanIn ** -0.5, // of zeros: that of torch's default stands in
      };
    });
    this.mask = mask;
    this.steps = 0;
    this.epoch = 0;
    this.finite = true;
    this.#allocate(settings.batchSize);
    this.#beginEpoch();
  }

  get stepsPerEpoch() {
    return Math.ceil(this.data.train.y.length / this.settings.batchSize);
  }

  #allocate(rows) {
    const sizes = [this.layers[0].fanIn, ...this.layers.map((layer) => layer.fanOut)];
    this.activations = sizes.map((size) => new this.Floats(rows * size));
    this.deltas = sizes.map((size) => new this.Floats(rows * size));
    this.classes = new Uint8Array(rows);
  }

  #beginEpoch() {
    const { seed, order } = this.settings;
    this.order = batchOrder(seed, order, this.epoch, this.data.train.y.length);
    this.sums = { loss: 0, correct: 0, abandoned: 0 };
  }

  /** One optimizer step; the metrics of the epoch when it ends here, otherwise null. */
  step() {
    const { batchSize, lr } = this.settings;
    const total = this.order.length;
    const from = (this.steps % this.stepsPerEpoch) * batchSize;
    const count = Math.min(batchSize, total - from);
    if (this.finite) {
      this.#load(this.data.train, this.order.subarray(from, from + count));
      this.#forward(count);
      this.#differentiate(count, this.sums);
      this.#backward(count);
      this.#update(count, lr / count);
    }
    this.steps += 1;
    if (this.steps % this.stepsPerEpoch) return null;
    this.epoch += 1;
    this.finite &&= this.layers.every((layer) => layer.w.every(Number.isFinite));
    const seen = this.sums;
    const metrics = this.evaluate();
    metrics.trainLoss = this.finite ? seen.loss / total : NaN;
    metrics.trainAccuracy = this.finite ? seen.correct / total : NaN;
    metrics.abandoned = seen.abandoned;
    this.#beginEpoch();
    return metrics;
  }

  /** Loss and accuracy on the test set with the weights as they are. */
  evaluate() {
    const { test } = this.data;
    const sums = { loss: 0, correct: 0, abandoned: 0 };
    const all = Uint16Array.from(test.y.keys());
    for (let from = 0; from < all.length; from += this.classes.length) {
      const part = all.subarray(from, from + this.classes.length);
      this.#load(test, part);
      this.#forward(part.length);
      this.#differentiate(part.length, sums);
    }
    const known = this.finite ? 1 : NaN;
    return {
      epoch: this.epoch,
      testLoss: (known * sums.loss) / all.length,
      testAccuracy: (known * sums.correct) / all.length,
    };
  }

  #load(examples, places) {
    const size = this.layers[0].fanIn;
    const into = this.activations[0];
    places.forEach((place, row) => {
      for (let i = 0; i < size; i++) {
        into[row * size + i] = examples.x[place * size + i];
      }
      this.classes[row] = examples.y[place];
    });
  }

  #forward(count) {
    this.layers.forEach((layer, index) => {
      const { w, b, fanIn, fanOut } = layer;
      const a = this.activations[index];
      const z = this.activations[index + 1];
      for (let row = 0; row < count; row++) {
        const at = row * fanOut;
        for (let o = 0; o < fanOut; o++) z[at + o] = b[o];
        accumulate(z, at, a, row * fanIn, 1, fanIn, w, fanOut);
        if (index === this.layers.length - 1) continue;
        for (let o = at; o < at + fanOut; o++) if (z[o] < 0) z[o] = 0;
      }
    });
  }

  /** Losses into sums, and the gradient of each example's loss by its outputs. */
  #differentiate(count, sums) {
    const z = this.activations.at(-1);
    const delta = this.deltas.at(-1);
    const clips = this.settings.loss === "clipped_cross_entropy";
    for (let row = 0; row < count; row++) {
      const at = row * CLASSES;
      const target = at + this.classes[row];
      let top = at;
      for (let k = at; k < at + CLASSES; k++) if (z[k] > z[top]) top = k;
      let norm = 0;
      for (let k = at; k < at + CLASSES; k++) norm += Math.exp(z[k] - z[top]);
      const p = Math.exp(z[target] - z[top]) / norm;
      const clipped = Math.min(Math.max(p, EPS), 1 - EPS);
      const kept = clips && clipped !== p ? 0 : 1; // what the clip changed stands still
      for (let k = at; k < at + CLASSES; k++) {
        delta[k] = kept * (Math.exp(z[k] - z[top]) / norm - (k === target ? 1 : 0));
      }
      sums.loss += clips ? -Math.log(clipped) : Math.log(norm) - (z[target] - z[top]);
      sums.correct += top === target ? 1 : 0;
      sums.abandoned += clips && p < EPS ? 1 : 0;
    }
  }

  #backward(count) {
    for (let index = this.layers.length - 1; index > 0; index--) {
      const { w, fanIn, fanOut } = this.layers[index];
      const a = this.activations[index];
      const behind = this.deltas[index + 1];
      const before = this.deltas[index];
      for (let row = 0; row < count; row++) {
        const from = row * fanOut;
        for (let i = 0; i < fanIn; i++) {
          let sum = 0;
          if (a[row * fanIn + i] > 0) {
            const at = i * fanOut;
            for (let o = 0; o < fanOut; o++) sum += behind[from + o] * w[at + o];
          }
          before[row * fanIn + i] = sum;
        }
      }
    }
  }

  #update(count, rate) {
    this.layers.forEach((layer, index) => {
      const { w, b, gradient, fanIn, fanOut } = layer;
      const a = this.activations[index];
      const delta = this.deltas[index + 1];
      // the sum begins at zero and meets the weight once: small terms are not lost
      gradient.fill(0);
      for (let i = 0; i < fanIn; i++) {
        accumulate(gradient, i * fanOut, a, i, fanIn, count, delta, fanOut);
      }
      for (let i = 0; i < w.length; i++) w[i] -= rate * gradient[i];
      for (let o = 0; o < fanOut; o++) {
        let sum = 0;
        for (let row = 0; row < count; row++) sum += delta[row * fanOut + o];
        b[o] -= rate * sum;
      }
    });
  }
}

/**
 * c[at ...] += sum over n of a[start + n stride] times row n of m, four rows at a time.
 * Factors of zero are left out: half of the pixels, and half of what relu puts out.
 */
function accumulate(c, at, a, start, stride, count, m, size) {
  let found = 0;
  for (let n = 0; n < count; n++) {
    const factor = a[start + n * stride];
    if (factor !== 0) {
      FACTORS[found] = factor;
      ROWS[found++] = n * size;
    }
  }
  for (; found % 4; found++) FACTORS[found] = ROWS[found] = 0; // they add nothing
  for (let n = 0; n < found; n += 4) {
    const a0 = FACTORS[n], a1 = FACTORS[n + 1], a2 = FACTORS[n + 2], a3 = FACTORS[n + 3];
    const r0 = ROWS[n], r1 = ROWS[n + 1], r2 = ROWS[n + 2], r3 = ROWS[n + 3];
    for (let o = 0; o < size; o++) {
      c[at + o] += a0 * m[r0 + o] + a1 * m[r1 + o] + a2 * m[r2 + o] + a3 * m[r3 + o];
    }
  }
}
const FACTORS = new Float64Array(1024);
const ROWS = new Int32Array(1024);
