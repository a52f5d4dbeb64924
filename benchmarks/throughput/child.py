"""One trainer in a process of its own: a line of JSON in, a line of JSON out.

`python -m throughput.child NAME THREADS`, with NAME from the list of trainers, or
`rates` for what this machine can do at most.
"""

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from throughput.case import Case, load_start
from throughput.trainer import ENTRIES, Trainer, load_trainer

Answer = dict[str, Any]


class Session:
    """Answers to what the driver asks of one trainer."""

    def __init__(self, name: str, threads: int) -> None:
        self.entry, self.threads = ENTRIES[name], threads
        self.kind = load_trainer(name)
        self.trainer: Trainer | None = None

    def describe(self) -> Answer:
        """What runs here."""
        packages = self.entry.packages
        versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
        return {"versions": ", ".join(versions)}

    def setup(self, case: dict[str, Any], start: str, first: int = 0) -> Answer:
        """Stand at the start of a case; whatever was here before is dropped."""
        self.trainer = None
        case["replicas"] = case["replicas"] or self.entry.replicas
        chosen = Case(**case)
        self.start = load_start(start).part(first, chosen.replicas)
        self.trainer = self.kind(
            chosen, *chosen.draw_pixels(), self.start.layers, self.threads
        )
        return {}

    def time(self, steps: int) -> Answer:
        """Seconds of so many steps of an epoch, orders and metrics included."""
        assert self.trainer is not None
        self.trainer.prepare()
        started = time.perf_counter()
        self.trainer.train(steps)
        return {"seconds": time.perf_counter() - started}

    def epoch(self, number: int, steps: int) -> Answer:
        """Metrics of a whole epoch in the batch order that the start file has."""
        assert self.trainer is not None
        metrics = self.trainer.train(steps, self.start.orders_ERN[number])
        assert metrics is not None
        loss_R, accuracy_R = metrics
        return {"loss": loss_R.tolist(), "accuracy": accuracy_R.tolist()}


def find_commands(name: str, threads: int) -> dict[str, Callable[..., Answer]]:
    """What this process can be asked for."""
    if name == "rates":
        from throughput.rates import measure_rates, prepare_rates

        prepare_rates(threads)
        return {"measure": measure_rates}
    session = Session(name, threads)
    names = ("describe", "setup", "time", "epoch")
    return {command: getattr(session, command) for command in names}


def main() -> None:
    """Answer until the driver closes the pipe."""
    # what libraries print must not stand between the answers
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    commands = find_commands(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        request = json.loads(line)
        answer = commands[request.pop("do")](**request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
