// Random streams by address, as `birthmark.seeds` has them: NumPy's Philox4x64-10
// (Salmon et al., SC 2011), whose key is the SHA-256 of the address. A page opened
// from a file has no `crypto.subtle`, so both stand here.

/** The first 16 bytes of the SHA-256 (FIPS 180-4) of an ASCII text, as 4 words. */
function sha256Words(text) {
  const primes = [];
  for (let n = 2; primes.length < 64; n++) {
    if (primes.every((p) => n % p)) primes.push(n);
  }
  const fraction = (x) => ((x - Math.floor(x)) * 2 ** 32) | 0;
  const k = primes.map((p) => fraction(Math.cbrt(p)));
  const state = primes.slice(0, 8).map((p) => fraction(Math.sqrt(p)));

  const length = text.length;
  const bytes = new Uint8Array(((length + 72) >> 6) << 6);
  for (let i = 0; i < length; i++) bytes[i] = text.charCodeAt(i);
  bytes[length] = 0x80;
  const view = new DataView(bytes.buffer);
  view.setUint32(bytes.length - 4, length * 8);

  const rotate = (x, n) => (x >>> n) | (x << (32 - n));
  const w = new Int32Array(64);
  for (let block = 0; block < bytes.length; block += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getInt32(block + 4 * i);
    for (let i = 16; i < 64; i++) {
      const early = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >>> 3);
      const late = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >>> 10);
      w[i] = w[i - 16] + early + w[i - 7] + late;
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i++) {
      const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + k[i] + w[i]) | 0;
      const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((x, i) => (state[i] = (state[i] + x) | 0));
  }
  return state.slice(0, 4);
}

/** The words of a 128-bit product of two 64-bit numbers: [high, low] of BigInts. */
const MASK_64 = (1n << 64n) - 1n;
function multiply(a, b) {
  const product = a * b;
  return [product >> 64n, product & MASK_64];
}

/** The stream at one address, at its beginning. */
class Stream {
  constructor(seed, replica, purpose, tensor) {
    // as Python's json.dumps writes it; names are ASCII without quotes
    const words = sha256Words(`[${seed}, ${replica}, "${purpose}", "${tensor}"]`);
    const key = new DataView(new ArrayBuffer(16));
    words.forEach((word, i) => key.setInt32(4 * i, word));
    this.key = [key.getBigUint64(0, true), key.getBigUint64(8, true)];
    this.counter = 0n;
  }

  /** So many uniforms in [0, 1), float64, each with 53 random bits. */
  uniforms(count) {
    const values = new Float64Array(count);
    for (let i = 0; i < count; i += 4) {
      const block = this.#block();
      for (let j = 0; j < 4 && i + j < count; j++) {
        values[i + j] = Number(block[j] >> 11n) / 2 ** 53;
      }
    }
    return values;
  }

  #block() {
    this.counter += 1n; // NumPy counts up before it draws
    let [c0, c1, c2, c3] = [this.counter, 0n, 0n, 0n];
    let [k0, k1] = this.key;
    for (let round = 0; round < 10; round++) {
      const [high0, low0] = multiply(0xd2e7470ee14c6c93n, c0);
      const [high1, low1] = multiply(0xca5a826395121157n, c2);
      [c0, c1, c2, c3] = [high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0];
      k0 = (k0 + 0x9e3779b97f4a7c15n) & MASK_64;
      k1 = (k1 + 0xbb67ae8584caa73bn) & MASK_64;
    }
    return [c0, c1, c2, c3];
  }
}

/** The order in which one replica visits the training set in one epoch. */
function batchOrder(seed, replica, epoch, count) {
  const draws = new Stream(seed, replica, "order", `epoch${epoch}`).uniforms(count);
  return Uint16Array.from(draws.keys()).sort((i, j) => draws[i] - draws[j]);
}
