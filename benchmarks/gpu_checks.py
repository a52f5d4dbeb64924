"""Is what the GPU computes what it should be? Against the CPU and against plain torch.

Small problems, random data. Each check returns what it measured and whether that is
good; `bench_gpu.py` puts them on top of its tables.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from birthmark.network import name_parameters
from birthmark.seeds import batch_order
from birthmark.shapes import Dataset, Weights
from birthmark.spec import RunSpec
from birthmark.training import Training

EPOCHS = 3
EPS = 0.05  # high, so that the clip takes part
MODULES = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "sigmoid": nn.Sigmoid}


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    claim: str
    measured: str
    holds: bool


def make_dataset(num_inputs: int = 64, num_classes: int = 10) -> Dataset:
    """Random pixels and labels: 43 batches of 16 and one of 12."""
    draws = np.random.default_rng(0)
    x = draws.integers(0, 256, (800, num_inputs), dtype=np.uint8)
    y = draws.integers(0, num_classes, 800)
    return Dataset(
        name="digits",
        x_train=x[:700],
        y_train=y[:700],
        x_test=x[700:],
        y_test=y[700:],
        num_classes=num_classes,
        image_shape=(num_inputs,),
        full_scale=255,
    )


def make_spec(device: str, dtype: str, precision: str = "full", **training) -> RunSpec:
    """Two hidden layers of awkward widths, three replicas."""
    activation = training.pop("activation", "relu")
    return RunSpec(
        data={"name": "digits"},
        network={"widths": [45, 30], "activation": activation},
        training={"lr": 0.1, "batch_size": 16, "eps": EPS, "epochs": 99, **training},
        run={
            "replicas": 3,
            "seed": 3,
            "device": device,
            "dtype": dtype,
            "precision": precision,
        },
    )


def train(spec: RunSpec, data: Dataset, path: str, start: Weights | None = None):
    """Three epochs, from another start where one is given."""
    training = Training.from_spec(spec, data, path=path)
    if start is not None:
        training.set_weights(name_parameters(start))
    metrics = [training.run_epoch() for _ in range(EPOCHS)]
    return training, metrics


def train_plainly(spec: RunSpec, data: Dataset, start: Weights, row: int) -> nn.Module:
    """One replica in torch.nn and torch.optim, on the device of its start."""
    layers: list[nn.Module] = []
    for name, layer in start.items():
        linear = nn.Linear(
            *layer.w.shape[1:], dtype=layer.w.dtype, device=layer.w.device
        )
        linear.weight.data.copy_(layer.w[row].T)
        linear.bias.data.copy_(layer.b[row])
        layers += (
            [linear]
            if name == "output"
            else [linear, MODULES[spec.network.activation]()]
        )
    module = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(module.parameters(), spec.training.lr)
    x = torch.tensor(data.x_train).to(start["output"].w) / data.full_scale
    y = torch.tensor(data.y_train, device=x.device)
    for epoch in range(EPOCHS):
        order = torch.tensor(batch_order(spec.run.seed, row, epoch, len(y)))
        for index in order.to(x.device).split(spec.training.batch_size):
            loss = plain_loss(spec.training.loss, module(x[index]), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return module


def plain_loss(name: str, z: Tensor, y: Tensor) -> Tensor:
    """The losses by their names in the spec."""
    if name == "cross_entropy":
        return nn.functional.cross_entropy(z, y)
    if name == "mean_squared_error":
        target = nn.functional.one_hot(y, z.shape[1]).to(z.dtype)
        return nn.functional.mse_loss(z, target)
    p = torch.softmax(z, 1).gather(1, y[:, None])
    return -torch.log(p.clamp(EPS, 1 - EPS)).mean()


def distance(weights: Weights, others: Weights) -> float:
    """Largest difference of a weight or bias, in units of the largest weight."""
    gaps = [
        float((a.cpu().double() - b.cpu().double()).abs().max() / b.abs().max())
        for name, layer in weights.items()
        for a, b in ((layer.w, others[name].w), (layer.b, others[name].b))
    ]
    return max(gaps)


def check_float64(device: str) -> list[Check]:
    """Losses and activations against the CPU's path and against torch.nn on the GPU."""
    data, found = make_dataset(), []
    for loss, activation in (
        ("clipped_cross_entropy", "relu"),
        ("cross_entropy", "tanh"),
        ("mean_squared_error", "gelu"),
        ("clipped_cross_entropy", "sigmoid"),
    ):
        spec = make_spec(device, "float64", loss=loss, activation=activation)
        ours, metrics = train(spec, data, "graphed")
        other = spec.with_settings({"run.device": "cpu"})
        theirs, expected = train(other, data, "fast")
        gap = distance(ours.weights, theirs.weights)
        same = all(
            np.allclose(getattr(a, key), value, rtol=1e-9, equal_nan=True)
            for a, b in zip(metrics, expected, strict=True)
            for key, value in vars(b).items()
        )
        name = f"float64, {loss}, {activation}"
        found.append(Check(f"{name}: as on the CPU", f"{gap:.0e}", gap < 1e-9))
        found.append(Check(f"{name}: metrics likewise", str(same), same))
        modules = [train_plainly(spec, data, ours.initial, row) for row in range(3)]
        gap = max(
            float((layer.w[row].T - module[2 * index].weight.detach()).abs().max())
            for row, module in enumerate(modules)
            for index, (_, layer) in enumerate(ours.weights.items())
        )
        found.append(Check(f"{name}: as torch.nn, SGD", f"{gap:.0e}", gap < 1e-9))
    return found


def check_rounding(device: str) -> list[Check]:
    """Float32 is as near to float64 as on the CPU; TF32 is off by its 10 bits.

    In a smooth network: at a kink rounding may take another turn. And in one of a size
    for which a library takes TF32, where it may.
    """
    data = make_dataset(num_inputs=784)
    smooth = {"loss": "cross_entropy", "activation": "tanh", "batch_size": 128}

    def spec(device: str, dtype: str, precision: str = "full") -> RunSpec:
        made = make_spec(device, dtype, precision, **smooth)
        return made.with_settings({"network.widths": [256, 256]})

    start = Training.from_spec(spec(device, "float32"), data).initial
    exact, _ = train(spec(device, "float64"), data, "graphed", start)

    def error(spec: RunSpec, path: str) -> float:
        training, _ = train(spec, data, path, start)
        return distance(training.weights, exact.weights)

    ours = error(spec(device, "float32"), "graphed")
    theirs = error(spec("cpu", "float32"), "fast")
    good = ours < 4 * theirs < 1e-3
    measured = f"{ours:.0e}, CPU {theirs:.0e}"
    found = [Check("float32: error by rounding as on the CPU", measured, good)]
    if device != "cpu":
        rough = error(spec(device, "float32", "tf32"), "graphed")
        good = 4 * ours < rough < 3e-2
        found.append(Check("TF32: takes effect, error below 3 %", f"{rough:.0e}", good))
    return found


def check_freezing(device: str) -> list[Check]:
    """NaN stops a replica at its step, and nobody else notices."""
    data, found = make_dataset(), []
    for activation in ("relu", "tanh"):
        spec = make_spec(device, "float32", activation=activation)
        healthy, ill = (
            Training.from_spec(spec, data, path="graphed") for _ in range(2)
        )
        for training in (healthy, ill):
            training.advance(37)
        b_RO = ill.weights["hidden2"].b.clone()
        b_RO[1, 0] = float("nan")
        ill.set_weights({"hidden2.b": b_RO})
        kept = ill.weights.clone()
        for training in (healthy, ill):
            for _ in range(EPOCHS):
                metrics = training.run_epoch()
        steps = metrics.nonfinite_step.tolist()
        good = steps == [-1, 37, -1]
        claim = f"NaN under {activation} freezes its replica at once"
        found.append(Check(claim, str(steps), good))
        pairs = [
            (ill.weights[name], kept[name], healthy.weights[name])
            for name in ill.weights
        ]
        still = all(a.w[1].equal(b.w[1]) for a, b, _ in pairs)
        alone = all(a.w[::2].equal(c.w[::2]) for a, _, c in pairs)
        found.append(Check("... its weights stay", str(still), still))
        found.append(Check("... its neighbours' bits too", str(alone), alone))
    return found


def check_bits(device: str) -> list[Check]:
    """Graph or one by one, stopped or not: the same bits."""
    data, spec = make_dataset(), make_spec(device, "float32")
    whole, expected = train(spec, data, "graphed")
    single = Training.from_spec(spec, data, path="graphed")
    last = None
    while single.epoch < EPOCHS:
        last = single.advance(1) or last
    first, second = (Training.from_spec(spec, data, path="graphed") for _ in range(2))
    while first.step < 57:
        first.advance(57 - first.step)
    second.load_state_dict(*first.state_dict())
    while second.epoch < EPOCHS:
        resumed = second.run_epoch()
    found = []
    for claim, training, metrics in (
        ("step by step gives the bits of the graph", single, last),
        ("stopped and resumed gives the bits of never stopped", second, resumed),
    ):
        same = all(
            layer.w.equal(training.weights[name].w)
            and layer.b.equal(training.weights[name].b)
            for name, layer in whole.weights.items()
        ) and np.array_equal(metrics.train_loss, expected[-1].train_loss)
        found.append(Check(claim, str(same), bool(same)))
    return found


CHECKS: list[Callable[[str], list[Check]]] = [
    check_float64,
    check_rounding,
    check_freezing,
    check_bits,
]
