r"""Whether a softmax output in Keras abandons examples: versions times backends.

`step`: one step of SGD on one example whose true class has the logit -25. From the
logits the loss is 25.69 and the biases move by lr times (1/2, 1/2, -1); from clipped
probabilities it is -ln(1e-7) = 16.12 and nothing moves.

`train`: replicas of the experiment `abandonment` with the clip at 1e-3
(`keras.config.set_epsilon`), where it takes some 20 thousand steps: the same start and
order of batches on every backend, and in birthmark's own run.

In an environment with Keras and a backend (and birthmark, for `train`), each once:

    KERAS_BACKEND=jax python -m birthmark_experiments.keras.measure step steps.jsonl
    KERAS_BACKEND=jax python -m birthmark_experiments.keras.measure train \
        trainings.jsonl --replica 0
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import distributions, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

    from birthmark import Dataset, RunSpec
    from birthmark.shapes import Array

Numbers = dict[str, float]
LR = 0.1
LOGIT = -25.0  # of the true class; the two others have 0
TRAINING = {"width": 100, "batch": 32, "epochs": 120, "epsilon": 1e-3}
SHARE = {"name": "hasyv2", "classes": 100, "examples_per_class": 60}
AT_ONCE = 20  # steps a call of the compiled function; the same arithmetic, quicker


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


def train(from_logits: bool, replica: int) -> dict[str, object]:
    """A replica of the experiment `abandonment`: losses of steps, then of epochs.

    Start and orders of batches are those of birthmark's own run, on every backend.
    """
    import keras
    import numpy as np

    from birthmark import RunSpec, load_dataset

    keras.config.set_epsilon(TRAINING["epsilon"])
    network = {"widths": [TRAINING["width"]] * 2}
    spec = RunSpec(data=SHARE, network=network, run={"replicas": replica + 1})
    data = load_dataset(spec.data)
    x = (data.x_train / data.full_scale).astype("float32")
    y = np.eye(data.num_classes, dtype="float32")[data.y_train]
    model = start_model(spec, replica, data, None if from_logits else "softmax")
    loss = keras.losses.CategoricalCrossentropy(from_logits=from_logits)
    steps, history = _train_epochs(model, loss, x, y, (spec.run.seed, replica))
    outputs = model.predict(x, batch_size=len(x), verbose=0)
    if from_logits:
        outputs = keras.ops.convert_to_numpy(keras.ops.softmax(outputs))
    backend = keras.backend.backend()
    return {
        "keras": keras.__version__,
        "backend": backend,
        "framework": _framework(backend),
        "from_logits": from_logits,
        "lr": LR,
        **TRAINING,
        "num_classes": data.num_classes,
        "replica": replica,
        "below_eps_at_end": float((outputs[y == 1] < TRAINING["epsilon"]).mean()),
        "step_loss": [float(f"{one['loss']:.7g}") for one in steps],
        "loss": [round(one["loss"], 5) for one in history],
        "accuracy": [round(one["accuracy"], 5) for one in history],
    }


def start_model(
    spec: RunSpec, replica: int, data: Dataset, activation: str | None
) -> keras.Model:
    """The dense network of a spec in Keras, with the start of a replica."""
    import keras

    from birthmark import initial_configuration

    hidden = [keras.layers.Dense(width, "relu") for width in spec.network.widths]
    last = keras.layers.Dense(data.num_classes, activation)
    model = keras.Sequential([keras.Input((data.num_inputs,)), *hidden, last])
    layers = [layer for _, layer in initial_configuration(spec).items()]
    model.set_weights([t[replica].numpy() for one in layers for t in (one.w, one.b)])
    return model


def _train_epochs(
    model: keras.Model, loss: keras.Loss, x: Array, y: Array, address: tuple[int, int]
) -> tuple[list[Numbers], list[Numbers]]:
    """Loss and accuracy of each step of the first epoch, and of each epoch.

    Inputs [N, I], classes as indicators [N, K]; seed and replica say the orders.
    """
    import keras
    import numpy as np

    from birthmark.seeds import batch_order

    def prepare(steps_at_once: int) -> None:
        model.compile(
            optimizer=keras.optimizers.SGD(LR),
            loss=loss,
            metrics=["accuracy"],
            steps_per_execution=steps_at_once,
        )

    size, epochs = int(TRAINING["batch"]), int(TRAINING["epochs"])
    steps: list[Numbers] = []
    prepare(1)
    order = batch_order(*address, 0, len(x))
    batches = [order[at : at + size] for at in range(0, len(x), size)]
    for index in batches:
        model.reset_metrics()
        found = model.train_on_batch(x[index], y[index], return_dict=True)
        steps.append({name: float(value) for name, value in found.items()})
    sizes = [len(index) for index in batches]
    history = [
        {
            name: float(np.average([one[name] for one in steps], weights=sizes))
            for name in steps[0]
        }
    ]
    # PyTorch has no other number
    prepare(1 if keras.backend.backend() == "torch" else AT_ONCE)
    for epoch in range(1, epochs):
        index = batch_order(*address, epoch, len(x))
        found = model.fit(x[index], y[index], size, shuffle=False, verbose=0).history
        history.append({name: float(values[0]) for name, values in found.items()})
    return steps, history


def _framework(backend: str) -> str:
    """Name and version of the package that computes."""
    names = {"tensorflow": ("tensorflow_cpu", "tensorflow")}.get(backend, (backend,))
    found = {one.metadata["Name"].replace("-", "_") for one in distributions()}
    name = next(name for name in names if name in found)
    return f"{backend} {version(name)}"


def main() -> None:
    """Measure, and append to the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["step", "train"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--replica", type=int, default=0, help="of a training")
    parser.add_argument(
        "--from-logits", action="store_true", help="a training of these"
    )
    chosen = parser.parse_args()
    found = (
        [train(chosen.from_logits, chosen.replica)]
        if chosen.what == "train"
        else [measure_step(from_logits) for from_logits in (False, True)]
    )
    with chosen.file.open("a") as lines:
        lines.writelines(f"{json.dumps(one)}\n" for one in found)


if __name__ == "__main__":
    main()
