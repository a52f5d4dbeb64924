"""Whether a softmax output in Keras abandons examples: versions times backends.

`step`: one step of SGD on one example whose true class has the logit -25. From the
logits the loss is 25.69 and the biases move by lr times (1/2, 1/2, -1); from clipped
probabilities it is -ln(1e-7) = 16.12 and nothing moves.

`train`: the network and the data of the experiments `abandonment` and `rescue` with the
clip at 1e-3 (`keras.config.set_epsilon`), where it takes some 20 thousand steps.

In an environment with Keras and a backend (and birthmark, for `train`), each once:

    KERAS_BACKEND=jax python benchmarks/study_keras.py step steps.jsonl
    KERAS_BACKEND=jax python benchmarks/study_keras.py train trainings.jsonl --seed 0

and then, anywhere, for the table:

    python benchmarks/study_keras.py table steps.jsonl > results.md
"""

import argparse
import json
import math
from importlib.metadata import distributions, version
from pathlib import Path

LR = 0.1
LOGIT = -25.0  # of the true class; the two others have 0
TRAINING = {"width": 100, "batch": 32, "epochs": 150, "epsilon": 1e-3}
SHARE = {"name": "hasyv2", "classes": 100, "examples_per_class": 60}


def measure_step(from_logits: bool) -> dict[str, float | str | list[float]]:
    """Loss, and how far one step moves the biases, in the Keras that is installed."""
    import keras
    import numpy as np

    activation = None if from_logits else "softmax"
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(3, activation=activation)]
    )
    start = np.array([0.0, 0.0, LOGIT], dtype="float32")
    model.layers[-1].set_weights([np.zeros((1, 3), dtype="float32"), start])
    model.compile(
        optimizer=keras.optimizers.SGD(LR),
        loss=keras.losses.CategoricalCrossentropy(from_logits=from_logits),
    )
    x, y = np.zeros((1, 1), "float32"), np.eye(3, dtype="float32")[[2]]
    history = model.fit(x, y, epochs=1, verbose=0)
    after = np.asarray(model.layers[-1].get_weights()[1])
    return {
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "framework": _framework(keras.backend.backend()),
        "from_logits": from_logits,
        "loss": float(history.history["loss"][0]),
        "moved": [float(v) for v in after - start],
    }


def train(from_logits: bool, seed: int) -> dict[str, object]:
    """Loss and accuracy, each epoch, of a network on a share of HASYv2."""
    import keras
    import numpy as np

    from birthmark.data import load_dataset
    from birthmark.spec import DataSpec

    keras.config.set_epsilon(TRAINING["epsilon"])
    keras.utils.set_random_seed(seed)
    data = load_dataset(DataSpec(**SHARE))
    x = (data.x_train / data.full_scale).astype("float32")
    y = np.eye(data.num_classes, dtype="float32")[data.y_train]
    hidden = [keras.layers.Dense(TRAINING["width"], "relu") for _ in range(2)]
    last = keras.layers.Dense(data.num_classes, None if from_logits else "softmax")
    model = keras.Sequential([keras.Input(x.shape[1:]), *hidden, last])
    model.compile(
        optimizer=keras.optimizers.SGD(LR),
        loss=keras.losses.CategoricalCrossentropy(from_logits=from_logits),
        metrics=["accuracy"],
    )
    history = model.fit(
        x, y, batch_size=TRAINING["batch"], epochs=TRAINING["epochs"], verbose=0
    ).history
    backend = keras.backend.backend()
    return {
        "keras": keras.__version__,
        "backend": backend,
        "framework": _framework(backend),
        "from_logits": from_logits,
        "seed": seed,
        "loss": [round(float(value), 5) for value in history["loss"]],
        "accuracy": [round(float(value), 5) for value in history["accuracy"]],
    }


def _framework(backend: str) -> str:
    """Name and version of the package that computes."""
    names = {"tensorflow": ("tensorflow_cpu", "tensorflow")}.get(backend, (backend,))
    found = {one.metadata["Name"].replace("-", "_") for one in distributions()}
    name = next(name for name in names if name in found)
    return f"{backend} {version(name)}"


def tabulate(lines: list[dict]) -> str:
    """Markdown: a row for each version and backend."""
    rows = [
        "| Keras | backend | loss, softmax | biases move by | loss, from_logits "
        "| biases move by | the softmax output abandons |",
        "|---|---|--:|---|--:|---|---|",
    ]
    pairs = sorted(
        {(one["keras"], one["backend"]) for one in lines},
        key=lambda pair: ([int(n) for n in pair[0].split(".")], pair[1]),
    )
    for keras, backend in pairs:
        soft, plain = (
            next(
                one
                for one in reversed(lines)
                if (one["keras"], one["backend"]) == (keras, backend)
                and one["from_logits"] == from_logits
            )
            for from_logits in (False, True)
        )
        abandons = "yes" if not any(soft["moved"]) else "no"
        rows.append(
            f"| {keras} | {soft['framework']} "
            f"| {soft['loss']:.3f} | {_say(soft['moved'])} "
            f"| {plain['loss']:.3f} | {_say(plain['moved'])} | {abandons} |"
        )
    return "\n".join(rows)


def _say(moved: list[float]) -> str:
    return ", ".join(f"{value:+.3f}" if value else "0" for value in moved)


def main() -> None:
    """Measure and append, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["step", "train", "table"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="of a training")
    parser.add_argument(
        "--from-logits", action="store_true", help="a training of these"
    )
    chosen = parser.parse_args()
    if chosen.what != "table":
        found = (
            [train(chosen.from_logits, chosen.seed)]
            if chosen.what == "train"
            else [measure_step(from_logits) for from_logits in (False, True)]
        )
        with chosen.file.open("a") as lines:
            lines.writelines(f"{json.dumps(one)}\n" for one in found)
        return
    lines = [json.loads(line) for line in chosen.file.read_text().splitlines()]
    print("# Does a softmax output in Keras abandon examples?\n")
    print(
        f"One step of SGD (lr {LR:g}) on one example whose true class has the logit "
        f"{LOGIT:g}, `Dense(3)`, `CategoricalCrossentropy`.\nThe loss from logits is "
        f"{math.log(2 + math.exp(LOGIT)) - LOGIT:.3f}; -ln(1e-7) is "
        f"{-math.log(1e-7):.3f}. CPU, `benchmarks/study_keras.py`.\n"
    )
    print(tabulate(lines))


if __name__ == "__main__":
    main()
