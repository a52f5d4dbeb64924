"""Timing in rounds: in each round everybody has a turn, and so do the rates."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from throughput.case import Case
from throughput.ours import draw_start
from throughput.process import Process
from throughput.rates import FLOAT32_ERROR
from throughput.trainer import ENTRIES, OURS

PAUSE = 0.1  # seconds between turns: idle OpenMP threads of the last one stop spinning


@dataclass
class Timings:
    """One case in all rounds."""

    case: Case
    # milliseconds a step and replica, by trainer, a number a round
    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    machine: list[dict[str, Any]] = field(default_factory=list)  # rates of each round

    def shares(self, name: str, *, best: bool) -> list[float]:
        """Operations of the products over time and over the rate of the same round."""
        pairs = zip(self.milliseconds[name], self.machine, strict=True)
        pick = best_rate if best else default_rate
        return [self.case.operations / (ms / 1e3) / pick(rates) for ms, rates in pairs]

    def ratios(self, name: str) -> list[float]:
        """Time of a trainer over ours of the same round."""
        pairs = zip(self.milliseconds[name], self.milliseconds[OURS], strict=True)
        return [theirs / ours for theirs, ours in pairs]


def default_rate(machine: Mapping[str, Any]) -> float:
    """What torch gives unless asked for something else."""
    return float(machine["rates"]["torch default"])


def best_rate(machine: Mapping[str, Any]) -> float:
    """The quickest product of any library here that is float32 arithmetic."""
    rates, errors = machine["rates"], machine["errors"]
    return float(max(rates[name] for name in rates if errors[name] < FLOAT32_ERROR))


def time_case(
    case: Case, processes: Mapping[str, Process], rates: Process | None, rounds: int
) -> Timings:
    """Time everybody on one case; compilation and a first run are not counted."""
    timings = Timings(case, {name: [] for name in processes})
    with TemporaryDirectory() as folder:
        start = Path(folder, "start.npz")
        draw_start(case, 0).save(start)
        for process in processes.values():
            process.setup(case, start)
            process.ask("time", steps=case.steps)
    order = list(processes)
    for number in range(rounds):
        if rates:
            timings.machine.append(rates.ask("measure"))
        # each has its turn at another place in each round
        for name in order[number % len(order) :] + order[: number % len(order)]:
            time.sleep(PAUSE)
            seconds = processes[name].ask("time", steps=case.steps)["seconds"]
            replicas = case.replicas or ENTRIES[name].replicas
            timings.milliseconds[name].append(1e3 * seconds / case.steps / replicas)
    return timings


def time_growth(ours: Process, rounds: int, steps: int) -> dict[str, list[Timings]]:
    """How our cost grows: with the replicas of a stack, and with the data."""
    by_replicas = [
        Case("hasyv2", width, steps_at(width, steps), replicas)
        for width in (10, 100, 500)
        for replicas in (1, 2, 4, 8, 16)
    ]
    by_data = [
        Case("hasyv2", width, num_steps)
        for width in (10, 100)
        for num_steps in (40, 160, 640, 1180)  # the last is HASYv2 as a whole
    ]
    series = {"replicas": by_replicas, "data": by_data}
    return {
        name: [time_case(case, {OURS: ours}, None, rounds) for case in cases]
        for name, cases in series.items()
    }


def steps_at(width: int, steps: int) -> int:
    """Fewer steps where a step takes longer; never so few that a call counts."""
    return min(steps, max(16, steps * 100 // width))
