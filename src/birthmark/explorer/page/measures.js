// What is measured while a network trains: the library's definitions, for one replica.

/** Distance over the norm of the initial weights; NaN where all of these are zero. */
function relativeDistance({ w, initial }) {
  let moved = 0;
  let start = 0;
  for (let i = 0; i < w.length; i++) {
    moved += (w[i] - initial[i]) ** 2;
    start += initial[i] ** 2;
  }
  return start ? Math.sqrt(moved / start) : NaN;
}

/**
 * Number of different units of a layer: two are one where no incoming weight differs by
 * more than 1e-4 of the root mean square of the matrix.
 */
function distinctUnits({ w, fanIn, fanOut }) {
  const square = w.reduce((sum, x) => sum + x * x, 0);
  if (!Number.isFinite(square)) return NaN;
  const tolerance = 1e-4 * Math.sqrt(square / w.length);
  const same = (o, p) => {
    for (let i = 0; i < fanIn; i++) {
      if (Math.abs(w[i * fanOut + o] - w[i * fanOut + p]) > tolerance) return false;
    }
    return true;
  };
  const found = [];
  for (let o = 0; o < fanOut; o++) if (!found.some((p) => same(o, p))) found.push(o);
  return found.length;
}

const BLUR = 60; // the matrix is so many standard deviations of the blur wide
const TINY = 1e-300;

/** Sizes as an eye pools them: rows and columns of equal root mean square, blurred. */
function poolSizes({ w, fanIn, fanOut }) {
  let sizes = Float64Array.from(w, Math.abs);
  const most = Math.max(sizes.reduce((a, b) => Math.max(a, b), 0), TINY);
  sizes = sizes.map((x) => x / most);
  for (const byRow of [true, false]) {
    const square = new Float64Array(byRow ? fanIn : fanOut);
    for (let i = 0; i < sizes.length; i++) {
      square[byRow ? Math.floor(i / fanOut) : i % fanOut] += sizes[i] ** 2;
    }
    const rms = square.map((x) => Math.sqrt(x / (byRow ? fanOut : fanIn) + TINY));
    sizes = sizes.map((x, i) => x / rms[byRow ? Math.floor(i / fanOut) : i % fanOut]);
  }
  return blur(blur(sizes, fanIn, fanOut, 1), fanOut, fanIn, fanOut);
}

/**
 * Lines of a number of places blurred along, their ends mirrored. From one place to the
 * next it is so many numbers: 1 along rows, as many as there are columns along these.
 */
function blur(values, lines, places, step) {
  const sigma = places / BLUR;
  const radius = Math.floor(4 * sigma + 0.5);
  const kernel = Float64Array.from({ length: 2 * radius + 1 },
    (_, k) => Math.exp(-0.5 * ((k - radius) / sigma) ** 2));
  const total = kernel.reduce((a, b) => a + b, 0);
  const mirror = (i) => (i < 0 ? -i - 1 : i >= places ? 2 * places - i - 1 : i);
  const padded = new Float64Array(places + 2 * radius);
  const found = new Float64Array(values.length);
  for (let line = 0; line < lines; line++) {
    const start = step === 1 ? line * places : line;
    for (let i = 0; i < padded.length; i++) {
      padded[i] = values[start + mirror(i - radius) * step] / total;
    }
    for (let i = 0; i < places; i++) {
      let sum = 0;
      for (let k = 0; k < kernel.length; k++) sum += kernel[k] * padded[i + k];
      found[start + i * step] = sum;
    }
  }
  return found;
}

/**
 * Retention of a mark of zeroed weights, as an eye reads it: the probability that the
 * pooled size under it is smaller than one beside it, ties counting half. 1 is perfect,
 * 0.5 is gone.
 */
function retention(layer, mask) {
  if (!layer.w.every(Number.isFinite)) return NaN;
  const sizes = poolSizes(layer);
  const inside = [];
  const outside = [];
  mask.forEach((m, i) => (m ? inside : outside).push(sizes[i]));
  if (!inside.length || !outside.length) return NaN;
  inside.sort((a, b) => a - b);
  outside.sort((a, b) => a - b);
  let wins = 0;
  let smaller = 0; // of those outside
  let notLarger = 0;
  for (const x of inside) {
    while (smaller < outside.length && outside[smaller] < x) smaller++;
    while (notLarger < outside.length && outside[notLarger] <= x) notLarger++;
    wins += outside.length - (smaller + notLarger) / 2;
  }
  return wins / inside.length / outside.length;
}

/** The median of some numbers. */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/**
 * Where the network stands now: high or low trainability, or untrainability, by the
 * lines of `birthmark.analysis` as if the run ended here. losses: train losses from
 * epoch 1 on.
 */
function regimeNow(losses, clips, largestClassShare) {
  const epochs = losses.length;
  if (!epochs) return "not trained yet";
  if (!Number.isFinite(losses.at(-1))) return "untrainability";
  const chance = Math.log(CLASSES);
  const window = Math.max(4, Math.round(0.02 * epochs));
  const least = Math.min(...losses);
  const leastEpoch = losses.indexOf(least) + 1;
  const plateau = -Math.log(EPS) * (1 - largestClassShare);
  const high = clips
    ? losses.some((loss) => loss >= 0.9 * plateau)
    : losses.some((loss, i) => loss > chance && i + 1 > leastEpoch);
  const end = median(losses.slice(-window));
  const rises = end > Math.max(2 * least, 0.01 * chance);
  const stillFalling = leastEpoch > epochs * (1 - 0.02);
  if (!stillFalling && epochs > leastEpoch && (rises || high)) return "untrainability";
  const smooth = median(losses.slice(-(window >> 1) - 1));
  return smooth <= 0.1 * chance ? "high trainability" : "low trainability";
}
