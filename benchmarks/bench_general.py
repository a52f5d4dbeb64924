"""What a stack gains on the general path: models of users' own, any optimizer.

Four replicas on random pixels of 28 x 28, batch 64, float32: a network of two
convolutions with SGD, and dense layers with Adam. Each way makes the same step:

- the plain loop: one torch module after the other, `optim` with foreach;
- in turn: the general path, one replica after the other;
- at once: the general path, all replicas in each operation (grouped convolutions);
- channels last: in turn, inputs and kernels in that layout;
- compiled (`--compile`): at once or in turn, what differentiates under `torch.compile`.

Milliseconds of the processor a step of all replicas on one core, the median of rounds
in which each has its turn; in brackets the time of the plain loop over it, the median
of the ratios of the rounds. The first step, which compiles, is timed by the clock.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from birthmark.spec import RunSpec
from birthmark.training import GeneralPath

REPLICAS, BATCH, PIXELS, CLASSES = 4, 64, 28, 10
Step = Callable[[], object]


def make_convolutions() -> nn.Module:
    """Two convolutions and a dense layer."""
    return nn.Sequential(
        nn.Unflatten(1, (1, PIXELS, PIXELS)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (PIXELS // 2) ** 2, CLASSES),
    )


def make_dense() -> nn.Module:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(PIXELS**2, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, CLASSES),
    )


MODELS = {
    "convolutions, SGD": (make_convolutions, "sgd"),
    "dense, Adam": (make_dense, "adam"),
}


def plain_loop(models: list[nn.Module], optimizer: str, x: Tensor, y: Tensor) -> Step:
    """What one would write."""
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    optimizers = [
        kinds[optimizer](model.parameters(), lr=0.01, foreach=True) for model in models
    ]

    def step() -> None:
        for row, (model, one) in enumerate(zip(models, optimizers, strict=True)):
            one.zero_grad()
            nn.functional.cross_entropy(model(x[row]), y[row]).backward()
            one.step()

    return step


def general(
    models: list[nn.Module],
    optimizer: str,
    x: Tensor,
    y: Tensor,
    *,
    in_turn: bool,
    compiled: bool = False,
) -> Step:
    """A step of the general path."""
    spec = RunSpec(
        data={"name": "digits"},
        network={"widths": [1]},
        training={"optimizer": optimizer, "lr": 0.01, "loss": "cross_entropy"},
        run={"replicas": len(models), "device": "cpu"},
    )
    stacked = {
        name: torch.stack([dict(m.named_parameters())[name].detach() for m in models])
        for name, _ in models[0].named_parameters()
    }

    def forward(one: dict[str, Tensor], x_BI: Tensor) -> Tensor:
        return functional_call(models[0], one, (x_BI,))

    path = GeneralPath(spec, stacked, forward, in_turn=in_turn)
    differentiate = path.differentiate
    if compiled:
        differentiate = torch.compile(differentiate, dynamic=False)

    def step() -> None:
        with torch.no_grad():
            differentiate(x, y)
            path.update(0.01)

    return step


def make_ways(name: str, *, compiled: bool) -> dict[str, Step]:
    """Each way with networks of its own, all with the same start."""
    make, optimizer = MODELS[name]
    torch.manual_seed(0)
    starts = [make().state_dict() for _ in range(REPLICAS)]
    x = torch.rand(REPLICAS, BATCH, PIXELS**2)
    y = torch.randint(0, CLASSES, (REPLICAS, BATCH))

    def models() -> list[nn.Module]:
        made = [make() for _ in starts]
        for model, start in zip(made, starts, strict=True):
            model.load_state_dict(start)
        return made

    last = [model.to(memory_format=torch.channels_last) for model in models()]
    ways = {
        "plain loop": plain_loop(models(), optimizer, x, y),
        "in turn": general(models(), optimizer, x, y, in_turn=True),
        "at once": general(models(), optimizer, x, y, in_turn=False),
    }
    if "convolutions" in name:
        ways["plain loop, channels last"] = plain_loop(last, optimizer, x, y)
    if compiled:
        for way, in_turn in (("in turn", True), ("at once", False)):
            ways[f"{way}, compiled"] = general(
                models(), optimizer, x, y, in_turn=in_turn, compiled=True
            )
    return ways


def time_first(step: Step) -> float:
    """Seconds of the first step; the compiler is another process, so of the clock."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def main() -> None:
    """Print a row a way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="of a turn")
    parser.add_argument("--compile", action="store_true", help="torch.compile as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in MODELS:
        ways = make_ways(name, compiled=arguments.compile)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        first = {way: time_first(step) for way, step in ways.items()}
        for _ in range(arguments.rounds):
            for way, step in ways.items():
                started = time.process_time()
                for _ in range(arguments.steps):
                    step()
                passed = time.process_time() - started
                seconds[way].append(passed / arguments.steps)
        print(f"{name} (n = {arguments.rounds} rounds of {arguments.steps} steps)\n")
        for way, found in seconds.items():
            pairs = zip(seconds["plain loop"], found, strict=True)
            ratios = sorted(loop / own for loop, own in pairs)
            middle = statistics.median(ratios)
            print(
                f"- {way}: {1e3 * statistics.median(found):.2f} ms "
                f"({middle:.2f} times as quick, {ratios[0]:.2f} to {ratios[-1]:.2f}); "
                f"the first step {first[way]:.1f} s"
            )
        print(flush=True)


if __name__ == "__main__":
    main()
