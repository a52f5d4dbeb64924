"""The tracker beside other watchers of training: time a step, and the same distances.

A dense network (64-256-256-10) learns digits with SGD; each watcher is used as its own
page says. Rounds take turns, so that all meet the same machine; a round is a training
from the start, and what making the watcher and its last report cost is counted apart.

    make bench-tracker
"""

import argparse
import contextlib
import copy
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import birthmark as bm

STEPS = 140


class Watcher:
    """Nothing is watched: a plain loop."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Look at both."""
        self.model = model

    def before(self, step: int) -> None:
        """Before the forward pass."""

    def between(self) -> None:
        """Between backward pass and step."""

    def after(self, step: int, loss: torch.Tensor) -> None:
        """After the step."""

    def finish(self) -> None:
        """The report, where there is one."""


class Birthmark(Watcher):
    """`bm.Tracker` as the README has it, with a store."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Hang on the optimizer."""
        self.folder = tempfile.TemporaryDirectory()
        self.tracker = bm.Tracker(model, optimizer, store=self.folder.name)

    def after(self, step: int, loss: torch.Tensor) -> None:
        """Note the loss."""
        self.tracker.log(loss=loss)

    def finish(self) -> None:
        """Say it and write it."""
        str(self.tracker.summary())
        self.tracker.finish()


class Torchmortem(Watcher):
    """`Autopsy`, with its own sampling."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """As its page says."""
        from torchmortem import Autopsy

        self.autopsy = Autopsy(model, optimizer=optimizer)
        self.autopsy.__enter__()
        self.folder = tempfile.TemporaryDirectory()

    def after(self, step: int, loss: torch.Tensor) -> None:
        """Note the loss."""
        self.autopsy.step(loss=loss.item())

    def finish(self) -> None:
        """Its report."""
        self.autopsy.__exit__(None, None, None)
        self.autopsy.report(str(Path(self.folder.name) / "report.html"))


class NeuralObservatory(Watcher):
    """`Observatory`, with its own sampling."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """As its page says."""
        from neural_observatory import Observatory

        self.observatory = Observatory(model)
        self.observatory.watch()

    def before(self, step: int) -> None:
        """It wants to know the step before the forward pass."""
        self.observatory.step(step=step, epoch=0)

    def finish(self) -> None:
        """Its report."""
        self.observatory.stop()
        self.observatory.report()


class ModuleMonitor(Watcher):
    """`ModuleMonitor` with the drift from a reference, one step in ten."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """As its page says."""
        from torch_module_monitor import ModuleMonitor

        self.monitor = ModuleMonitor(monitor_step_fn=lambda step: step % 10 == 0)
        self.monitor.set_module(model)
        self.monitor.set_reference_module(copy.deepcopy(model))
        self.monitor.add_parameter_metric("norm", lambda w: w.norm())
        self.monitor.add_parameter_difference_metric(
            "distance", lambda w, start: (w - start).norm()
        )

    def before(self, step: int) -> None:
        """Begin a step."""
        self.monitor.begin_step(step)

    def between(self) -> None:
        """Look at the weights."""
        self.monitor.monitor_parameters()
        self.monitor.end_step()


WATCHERS: dict[str, type[Watcher]] = {
    "plain loop": Watcher,
    "birthmark": Birthmark,
    "torchmortem": Torchmortem,
    "neural-observatory": NeuralObservatory,
    "torch-module-monitor": ModuleMonitor,
}


def make() -> tuple[nn.Module, torch.optim.Optimizer, Callable[[int], list]]:
    """A network, its optimizer, and the batch of each step."""
    torch.manual_seed(0)
    sizes = ((64, 256), (256, 256), (256, 10))
    layers = [layer for size in sizes for layer in (nn.Linear(*size), nn.ReLU())]
    model = nn.Sequential(*layers[:-1])
    x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
    x = x.float() / 16
    draws = torch.Generator().manual_seed(1)
    order = torch.randint(len(x), (STEPS, 64), generator=draws)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, optimizer, lambda step: [x[order[step]], y[order[step]]]


def time_round(kind: type[Watcher]) -> tuple[float, float]:
    """Milliseconds a step of one training, and what beginning and end took besides."""
    model, optimizer, batch = make()
    begun = time.process_time()
    watcher = kind(model, optimizer)
    started = time.process_time()
    for step in range(STEPS):
        watcher.before(step)
        x, y = batch(step)
        loss = cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        watcher.between()
        optimizer.step()
        watcher.after(step, loss)
    ended = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        watcher.finish()
    besides = started - begun + time.process_time() - ended
    return 1e3 * (ended - started) / STEPS, 1e3 * besides


def compare_distances() -> tuple[float, float]:
    """Largest relative difference to cockpit's and the monitor's, on one run."""
    from backpack import extend
    from cockpit import Cockpit
    from cockpit.quantities import Distance
    from cockpit.utils.schedules import linear

    model, optimizer, batch = make()
    model, loss_of = extend(model), extend(nn.CrossEntropyLoss())
    tracker = bm.Tracker(model, optimizer, schedule=1)
    monitor = ModuleMonitor(model, optimizer)
    quantity = Distance(track_schedule=linear(interval=1))
    cockpit = Cockpit(model.parameters(), quantities=[quantity])
    for step in range(41):
        monitor.before(step)
        x, y = batch(step)
        optimizer.zero_grad()
        output = model(x)
        loss = loss_of(output, y)
        each = cross_entropy(output, y, reduction="none")
        info = {"batch_size": 64, "individual_losses": each, "loss": loss}
        with cockpit(step, info={**info, "optimizer": optimizer}):
            loss.backward()
        monitor.between()
        optimizer.step()
    ours = tracker.records.distance.isel(replica=0)
    by_cockpit = by_monitor = 0.0
    for step in range(1, 41):
        theirs = quantity.get_output()[step]
        for found, one in zip(ours.sel(step=step).values, theirs, strict=True):
            by_cockpit = max(by_cockpit, abs(found / one - 1))
    last = monitor.monitor.get_all_metrics()[40]
    for name, _ in model.named_parameters():
        (key,) = [key for key in last if name in key and "distance" in key]
        found = float(ours.sel(step=40, parameter=name))
        by_monitor = max(by_monitor, abs(found / float(last[key]) - 1))
    return by_cockpit, by_monitor


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    by_cockpit, by_monitor = compare_distances()
    print("largest relative difference of distances from the start, one run:")
    print(f"  to cockpit's Distance, 40 steps of 6 tensors: {by_cockpit:.1e}")
    print(f"  to torch-module-monitor's, step 40: {by_monitor:.1e}\n")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WATCHERS}
    for kind in WATCHERS.values():
        time_round(kind)  # imports and first calls
    for _ in range(rounds):
        for name, kind in WATCHERS.items():
            found[name].append(time_round(kind))
    print("| watcher | ms a step | over the plain loop | beginning and report, ms |")
    print("|---|--:|--:|--:|")
    plain = [step for step, _ in found["plain loop"]]
    for name, times in found.items():
        steps = [step for step, _ in times]
        over = [one - bare for one, bare in zip(steps, plain, strict=True)]
        besides = statistics.median(one for _, one in times)
        print(
            f"| {name} | {statistics.median(steps):.2f} | "
            f"{statistics.median(over):+.2f} | {besides:.0f} |"
        )
    print(f"\nprocessor time, one thread, torch {torch.__version__}, {STEPS} steps, ")
    print(f"medians of {rounds} rounds in turns")


if __name__ == "__main__":
    main()
