r"""A replica of the paper's protocol, trained by Keras (JAX, float32) itself.

An independent truth for the engine: the layers, the softmax, the clipped loss, its
gradient and the steps of SGD are Keras's own (`stateless_call`,
`CategoricalCrossentropy`, `stateless_apply`); from birthmark come the start and the
orders of batches of one replica of a shipped run, so that the first epochs must agree.

    KERAS_BACKEND=jax python -m birthmark_experiments.keras.measure_paper \
        KEY REPLICA EPOCHS FOLDER

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

from birthmark import load_dataset
from birthmark.seeds import batch_order
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.store import open_shipped
from .measure import start_model

EVERY = 5  # epochs between two states on disk
AT_ONCE = 708  # test examples evaluated together; divides the 16,992 of HASYv2
MEASURED = 2  # weights between the hidden layers, after weights and biases of the first
CURVES = (
    *("train_loss", "train_accuracy", "below_eps"),
    *("test_loss", "test_accuracy", "deviation_std"),
)


def make_epoch(
    model: keras.Model, optimizer: keras.Optimizer, spec: RunSpec, data: Dataset
) -> Callable[..., Any]:
    """(state, order [N]) -> state, sums over visits of loss, right, below the clip."""
    pixels, classes = jnp.asarray(data.x_train), jnp.asarray(data.y_train)
    cross_entropy, size = find_loss(data), spec.training.batch_size

    def loss_of(weights: list[Any], x: jax.Array, y: jax.Array) -> tuple[Any, ...]:
        p, _ = model.stateless_call(weights, [], x, training=True)
        return cross_entropy(y, p), p

    def step(state: tuple[Any, ...], index: jax.Array) -> tuple[Any, ...]:
        weights, variables = state
        x = pixels[index].astype("float32") / data.full_scale
        y = classes[index]
        differentiate = jax.value_and_grad(loss_of, has_aux=True)
        (loss, p), grads = differentiate(weights, x, y)
        weights, variables = optimizer.stateless_apply(variables, grads, weights)
        below = jnp.take_along_axis(p, y[:, None], 1) < spec.training.eps
        sums = [loss * len(index), (p.argmax(1) == y).sum(), below.sum()]
        return (weights, variables), jnp.stack([jnp.float32(one) for one in sums])

    def epoch(state: tuple[Any, ...], order: jax.Array) -> tuple[Any, ...]:
        whole = len(order) // size * size
        state, sums = jax.lax.scan(step, state, order[:whole].reshape(-1, size))
        state, rest = step(state, order[whole:])
        return state, sums.sum(0) + rest

    compiled: Callable[..., Any] = jax.jit(epoch, donate_argnums=0)
    return compiled


def make_test(model: keras.Model, data: Dataset) -> Callable[..., Any]:
    """Weights -> mean test loss, test accuracy."""
    x = jnp.asarray(data.x_test).reshape(-1, AT_ONCE, data.num_inputs)
    y = jnp.asarray(data.y_test).reshape(-1, AT_ONCE)
    cross_entropy = find_loss(data)

    def test(weights: list[Any]) -> jax.Array:
        def one(examples: tuple[Any, ...]) -> jax.Array:
            x, y = examples
            x = x.astype("float32") / data.full_scale
            p, _ = model.stateless_call(weights, [], x)
            return jnp.stack([cross_entropy(y, p), (p.argmax(1) == y).mean()])

        return jax.lax.map(one, (x, y)).mean(0)

    compiled: Callable[..., Any] = jax.jit(test)
    return compiled


def find_loss(data: Dataset) -> Callable[..., Any]:
    """Keras's categorical cross-entropy of classes and probabilities."""
    loss = keras.losses.CategoricalCrossentropy()
    return lambda y, p: loss(jax.nn.one_hot(y, data.num_classes), p)


def train(key: str, replica: int, epochs: int, folder: Path) -> None:
    """Go on from where the state in the folder stands, and append to the lines."""
    spec = open_shipped("paper").spec(key)
    keras.config.set_epsilon(spec.training.eps)
    data = load_dataset(spec.data)
    model = start_model(spec, replica, data, "softmax")
    start = np.asarray(model.trainable_variables[MEASURED])
    path = folder / f"{key}-{replica}.jsonl"
    state, done = load_state(path, model)
    optimizer = keras.optimizers.SGD(spec.training.lr)
    optimizer.build(model.trainable_variables)
    variables = [one.value for one in optimizer.variables]
    run_epoch = make_epoch(model, optimizer, spec, data)
    test = make_test(model, data)
    for number in range(done, epochs):
        order = batch_order(spec.run.seed, replica, number, len(data.y_train))
        (state, variables), sums = run_epoch((state, variables), jnp.asarray(order))
        means = np.asarray(sums, dtype="float64") / len(data.y_train)
        deviation = float(np.std(np.asarray(state[MEASURED]) - start))
        values = [*means, *np.asarray(test(state), dtype="float64"), deviation]
        line = {"run": key, "replica": replica, "epoch": number + 1}
        line |= {n: float(f"{v:.6g}") for n, v in zip(CURVES, values, strict=True)}
        with path.open("a") as lines:
            lines.write(f"{json.dumps(line)}\n")
        if (number + 1) % EVERY == 0:
            save_state(path, state, number + 1)


def save_state(path: Path, weights: list[Any], epoch: int) -> None:
    """Write the state beside the lines, whole or not at all."""
    saved = path.with_suffix(".npz")
    part = saved.with_name(f"part-{saved.name}")
    np.savez(part, *[np.asarray(one) for one in weights], epoch=epoch)
    part.replace(saved)


def load_state(path: Path, model: keras.Model) -> tuple[list[Any], int]:
    """Weights and epochs done: the saved ones, else those of the model and 0.

    Lines of epochs after the saved state are cut off.
    """
    weights, done = [one.value for one in model.trainable_variables], 0
    saved = path.with_suffix(".npz")
    if saved.exists():
        with np.load(saved) as file:
            weights = [jnp.asarray(file[f"arr_{i}"]) for i in range(len(weights))]
            done = int(file["epoch"])
    kept = (
        path.read_text(encoding="utf-8").splitlines(keepends=True)[:done]
        if path.exists()
        else []
    )
    path.write_text("".join(kept), encoding="utf-8")
    return weights, done


def main() -> None:
    """Train as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("key", help="of the shipped run")
    parser.add_argument("replica", type=int)
    parser.add_argument("epochs", type=int, help="to go on to")
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    train(chosen.key, chosen.replica, chosen.epochs, chosen.folder)


if __name__ == "__main__":
    main()
