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

/**
 * Retention of a mark of zeroed weights: the probability that a weight under it is
 * smaller than one beside it, ties counting half. 1 is perfect, 0.5 is gone.
 */
function retention({ w }, mask) {
  const inside = [];
  const outside = [];
  mask.forEach((m, i) => (m ? inside : outside).push(Math.abs(w[i])));
  if (!inside.length || !outside.length || !w.every(Number.isFinite)) return NaN;
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
