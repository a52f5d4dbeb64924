"""Which of two ways to make steps is quicker here: tried, on the run's own network."""

import time

import torch

from birthmark.shapes import Weights
from birthmark.spec import RunSpec
from birthmark.training.examples import Examples
from birthmark.training.paths import TrainingPath, choose_path, find_path_name
from birthmark.training.step_ranges import StepRange

_ROUNDS, _STEPS = 3, 2


def try_paths(spec: RunSpec, weights: Weights, device: str, examples: Examples) -> str:
    """The name of the quicker path where that is not known beforehand, otherwise "".

    The compiled path gives each replica a core of its own. With at least as many
    replicas as threads it was quicker at every width that was measured. With fewer,
    torch's products, which share all cores, may win: for one replica on two cores they
    do from about width 250 on.
    """
    few = weights.num_replicas < torch.get_num_threads()
    if not few or find_path_name(spec, device) != "compiled":
        return ""
    seconds = {
        name: _time_steps(choose_path(spec, weights, device, name), spec, examples)
        for name in ("compiled", "fast")
    }
    return min(seconds, key=lambda name: seconds[name])


def _time_steps(path: TrainingPath, spec: RunSpec, examples: Examples) -> float:
    """Seconds of the quickest round, after one that warms up."""
    count = min(len(examples), _STEPS * spec.training.batch_size)
    num_replicas = len(path.accumulators.loss_R)
    order_RN = torch.arange(count).expand(num_replicas, -1).contiguous()
    num_steps = -(-count // spec.training.batch_size)
    step_range = StepRange(order_RN, 0, 0, [0.0] * num_steps)
    seconds = []
    for _ in range(1 + _ROUNDS):
        started = time.perf_counter()
        path.make_steps(examples, step_range)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
