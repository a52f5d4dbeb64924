"""A replica of the paper's protocol, trained by Keras (JAX, float32) itself.

An independent truth for the engine: the layers, the softmax, the clipped loss, its
gradient and the steps of SGD are Keras's own (`stateless_call`,
`CategoricalCrossentropy`, `stateless_apply`); from birthmark come the start and the
orders of batches of one replica of a shipped run, so that the first epochs must agree.

    KERAS_BACKEND=jax python benchmarks/study_keras_paper.py KEY REPLICA EPOCHS FOLDER

KEY names the shipped run. A line of JSON an epoch goes to `FOLDER/KEY-REPLICA.jsonl`;
the state lies beside it, so that the same command goes on where it was stopped.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from study_keras import start_model

from birthmark import load_dataset
from birthmark.seeds import batch_order
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.store import open_shipped

EVERY = 5  # epochs between two states on disk
AT_ONCE = 708  # test examples evaluated together; divides the 16,992 of HASYv2


def make_epoch(
    model: keras.Model, optimizer: keras.Optimizer, spec: RunSpec, data: Dataset
) -> Callable[..., Any]:
    """(state, order [N]) -> state, sums over visits of loss, right, below the clip."""
    pixels, classes = jnp.asarray(data.x_train), jnp.asarray(data.y_train)
    cross_entropy, size = find_loss(data), spec.training.batch_size

    def loss_of(weights: list, x: jax.Array, y: jax.Array) -> tuple:
        p, _ = model.stateless_call(weights, [], x, training=True)
        return cross_entropy(y, p), p

    def step(state: tuple, index: jax.Array) -> tuple:
        weights, variables = state
        x = pixels[index].astype("float32") / data.full_scale
        y = classes[index]
        differentiate = jax.value_and_grad(loss_of, has_aux=True)
        (loss, p), grads = differentiate(weights, x, y)
        weights, variables = optimizer.stateless_apply(variables, grads, weights)
        below = jnp.take_along_axis(p, y[:, None], 1) < spec.training.eps
        sums = [loss * len(index), (p.argmax(1) == y).sum(), below.sum()]
        return (weights, variables), jnp.stack([jnp.float32(one) for one in sums])

    def epoch(state: tuple, order: jax.Array) -> tuple:
        whole = len(order) // size * size
        state, sums = jax.lax.scan(step, state, order[:whole].reshape(-1, size))
        state, rest = step(state, order[whole:])
        return state, sums.sum(0) + rest

    return jax.jit(epoch, donate_argnums=0)


def make_test(model: keras.Model, data: Dataset) -> Callable[..., Any]:
    """Weights -> mean test loss, test accuracy."""
    x = jnp.asarray(data.x_test).reshape(-1, AT_ONCE, data.num_inputs)
    y = jnp.asarray(data.y_test).reshape(-1, AT_ONCE)
    cross_entropy = find_loss(data)

    def test(weights: list) -> jax.Array:
        def one(examples: tuple) -> jax.Array:
            x, y = examples
            x = x.astype("float32") / data.full_scale
            p, _ = model.stateless_call(weights, [], x)
            return jnp.stack([cross_entropy(y, p), (p.argmax(1) == y).mean()])

        return jax.lax.map(one, (x, y)).mean(0)

    return jax.jit(test)


def find_loss(data: Dataset) -> Callable[..., Any]:
    """Keras's categorical cross-entropy of classes and probabilities."""
    loss = keras.losses.CategoricalCrossentropy()
    return lambda y, p: loss(jax.nn.one_hot(y, data.num_classes), p)


def train(spec: RunSpec, replica: int, epochs: int, path: Path) -> None:
    """Go on from the state beside `path` to this epoch, and append to the lines."""
    keras.config.set_epsilon(spec.training.eps)
    data = load_dataset(spec.data)
    model = start_model(spec, replica, data, "softmax")
    optimizer = keras.optimizers.SGD(spec.training.lr)
    optimizer.build(model.trainable_variables)
    weights = [one.value for one in model.trainable_variables]
    start = np.asarray(weights[2])
    variables = [one.value for one in optimizer.variables]
    done, saved = 0, path.with_suffix(".npz")
    if saved.exists():
        with np.load(saved) as file:
            weights = [jnp.asarray(file[f"w{i}"]) for i in range(len(weights))]
            done = int(file["epoch"])
        kept = path.read_text().splitlines(keepends=True)[:done]
        path.write_text("".join(kept))
    run_epoch = make_epoch(model, optimizer, spec, data)
    test = make_test(model, data)
    for number in range(done, epochs):
        order = batch_order(spec.run.seed, replica, number, len(data.y_train))
        (weights, variables), sums = run_epoch((weights, variables), jnp.asarray(order))
        means = np.asarray(sums, dtype="float64") / len(data.y_train)
        test_loss, test_accuracy = np.asarray(test(weights), dtype="float64")
        line = {
            "epoch": number + 1,
            "train_loss": means[0],
            "train_accuracy": means[1],
            "below_eps": means[2],
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
            "deviation_std": float(np.std(np.asarray(weights[2]) - start)),
        }
        with path.open("a") as lines:
            lines.write(json.dumps({k: float(f"{v:.6g}") for k, v in line.items()}))
            lines.write("\n")
        if (number + 1) % EVERY == 0:
            arrays = {f"w{i}": np.asarray(one) for i, one in enumerate(weights)}
            part = saved.with_name(f"part-{saved.name}")
            np.savez(part, epoch=number + 1, **arrays)
            part.replace(saved)


def main() -> None:
    """Train as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("key", help="of the shipped run")
    parser.add_argument("replica", type=int)
    parser.add_argument("epochs", type=int, help="to go on to")
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    spec = open_shipped("paper").spec(chosen.key)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    path = chosen.folder / f"{chosen.key}-{chosen.replica}.jsonl"
    train(spec, chosen.replica, chosen.epochs, path)


if __name__ == "__main__":
    main()
