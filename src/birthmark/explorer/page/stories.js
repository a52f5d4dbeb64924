// Six guided stories. A step sets the page, trains, and says what to look at before
// and, with the numbers as they came out, after.

const BASE = {
  width: 64, depth: 2, lr: 0.1, initialization: "glorot_uniform",
  loss: "cross_entropy", seed: 0, order: 0,
};
const percent = (share) => `${Math.round(100 * share)} %`;
const number = (x, digits = 2) => (Number.isFinite(x) ? x.toFixed(digits) : "not a number");
const whole = (x) => x.toLocaleString("en");

const STORIES = [
  {
    title: "Why not 0.5?",
    steps: [
      {
        settings: { ...BASE, depth: 1, initialization: "half" }, mark: "none", until: 20,
        before:
          "All weights start at 0.5. Each of the 64 units computes the same, so each gets the same gradient.",
        after: (now) =>
          `After ${now.epoch} epochs there is still ${now.units} distinct unit of 64: the columns of the matrix are all alike. One unit alone gets ${percent(now.testAccuracy)} of the test digits right.`,
      },
      {
        settings: { ...BASE, depth: 1 }, mark: "none", until: 20,
        before: "The same network, from random weights (Glorot uniform).",
        after: (now) =>
          `${now.units} distinct units, and ${percent(now.testAccuracy)} of the test digits are right. Chance makes the units differ; training alone cannot.`,
      },
    ],
  },
  {
    title: "The letter that survives",
    steps: [
      {
        settings: BASE, mark: "letter", until: 60,
        before:
          "Some weights between the two hidden layers are set to zero: they draw an a. Nothing protects it: training may move every weight.",
        after: (now) =>
          `${percent(now.testAccuracy)} of the test digits are right, and the letter is still there: in ${percent(now.retention)} of all pairs of a place under it and one beside it, weights are smaller under it (50 % would be chance).`,
      },
      {
        settings: { ...BASE, order: 1 }, mark: "letter", until: 60,
        before: "The same start again, but the digits come in another order.",
        after: (now) =>
          `Other steps, nearly the same picture (${percent(now.retention)}): what you see is the start, not the way.`,
      },
      {
        settings: { ...BASE, width: 16 }, mark: "letter", until: 100,
        before: "Now a narrow network: 16 units a layer.",
        after: (now) =>
          `With few weights each must travel far: the letter is fading: ${percent(now.retention)} of the pairs.`,
      },
    ],
  },
  {
    title: "Too narrow",
    steps: [
      {
        settings: { ...BASE, width: 4 }, mark: "none", until: 100,
        before: "Four units a layer are to tell ten digits apart.",
        after: (now) =>
          `The train loss hangs at ${number(now.trainLoss)}: ${now.regime}, although the weights have travelled up to ${number(Math.max(...now.distances), 1)} times the length of their start.`,
      },
      {
        settings: BASE, mark: "none", until: 100,
        before: "The same with 64 units a layer.",
        after: (now) =>
          `A train loss of ${number(now.trainLoss, 3)}: ${now.regime}, and no layer has travelled further than ${number(Math.max(...now.distances), 1)} times its start.`,
      },
    ],
  },
  {
    title: "Too fast",
    steps: [
      {
        settings: { ...BASE, width: 32, lr: 3 }, mark: "letter", until: 40,
        before: "A learning rate of 3: thirty times the usual. Watch the first epoch.",
        after: (now) =>
          `One leap in the first epoch, and then nothing: the loss stands at ${number(now.trainLoss)}, what guessing gets (2.30). The relu units were thrown to where they put out zero for each digit, so no gradient passes.`,
      },
      {
        settings: { ...BASE, width: 32, lr: 0.1 }, mark: "letter", until: 40,
        before: "The same start with a learning rate of 0.1.",
        after: (now) =>
          `A train loss of ${number(now.trainLoss, 3)} and ${percent(now.testAccuracy)} of the test digits right: the start was good, the steps were not.`,
      },
    ],
  },
  {
    title: "The clip",
    steps: [
      {
        settings: { ...BASE, depth: 1, initialization: "half", loss: "clipped_cross_entropy" },
        mark: "none", until: 20,
        before:
          "Some programs clip probabilities at 0.0000001 before the logarithm. From weights of 0.5 the outputs are large from the first step on.",
        after: (now) =>
          `${whole(now.abandoned)} of ${whole(now.examples)} digits are abandoned: their probability is below the clip, where the loss is flat, so they give no gradient. The loss stays at ${number(now.trainLoss, 1)}, however long you wait.`,
      },
      {
        settings: { ...BASE, depth: 1, initialization: "half" }, mark: "none", until: 20,
        before: "The same start, with the loss computed from the outputs themselves, unclipped.",
        after: (now) =>
          `Nobody is abandoned, and the loss has come down to ${number(now.trainLoss)}. It is still a bad start (${now.units} distinct unit), but it can move.`,
      },
    ],
  },
  {
    title: "Width and distance",
    steps: [16, 48, 128].map((width) => ({
      settings: { ...BASE, width }, mark: "letter", until: 30,
      before: `${width} units a layer. Look at the lower curve: how far each layer travels.`,
      after: (now) =>
        `The marked layer has travelled ${number(now.distances[1])} times the length of its start. ` +
        (width < 128
          ? "Wider next; this curve stays as a faint line."
          : "The wider the network, the nearer to its start it ends."),
    })),
  },
];
