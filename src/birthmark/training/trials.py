"""Which of two ways to make steps is quicker here: tried, on the run's own network."""

import logging
import time
from collections.abc import Mapping

import torch

from birthmark.shapes import Weights
from birthmark.spec import RunSpec
from birthmark.training.devices import describe_device
from birthmark.training.examples import Examples
from birthmark.training.kept_trials import keep_trial
from birthmark.training.paths import TrainingPath, choose_path, find_path_name
from birthmark.training.products import choose_products, product_setting
from birthmark.training.step_ranges import StepRange

_ROUNDS, _STEPS, _SECONDS = 3, 2, 1.0  # of a trial, at most
_GAINS = 1.05  # times as quick must rounded products be to be worth their rounding
_log = logging.getLogger("birthmark")


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
    products = choose_products(spec)
    ways = {
        name: (choose_path(spec, weights, device, name), products)
        for name in ("compiled", "fast")
    }
    seconds = time_ways(ways, spec, examples)
    return min(seconds, key=lambda name: seconds[name])


def weigh_precision(
    spec: RunSpec, weights: Weights, device: str, examples: Examples
) -> float:
    """How many times as quick steps are as in full precision, and says if they are not.

    Tried at first use for a processor and networks of this shape, and kept: for a CPU
    alone, on which bfloat16 may well be slower than float32.
    """
    precision = spec.run.precision
    if precision == "full" or device != "cpu":
        return 1.0
    full = spec.with_settings({"run.precision": "full"})
    sizes = [f"{len(x.w[0])}x{x.b.shape[1]}" for _, x in weights.items()]
    words = [precision, *sizes, f"{spec.training.batch_size} at a time"]

    def find() -> str:
        few = weights.rows(slice(0, 1))
        ways = {
            name: (choose_path(one, few, device), choose_products(one))
            for name, one in ((precision, spec), ("full", full))
        }
        seconds = time_ways(ways, spec, examples)
        return f"{seconds['full'] / seconds[precision]:.3f}"

    gain = float(keep_trial("precision", words, find, accept=_is_number))
    if gain < _GAINS:
        _log.warning("%s", say_loss(precision, gain))
    return gain


def say_loss(precision: str, gain: float) -> str:
    """One line that names the quicker choice."""
    return (
        f"precision {precision!r} gains nothing on {describe_device('cpu')}: its steps "
        f"are {gain:.2f} times as quick as those of 'full', which is the better choice"
    )


def time_ways(
    ways: Mapping[str, tuple[TrainingPath, str]], spec: RunSpec, examples: Examples
) -> dict[str, float]:
    """Seconds of the quickest round of each path, under its setting of products.

    In turn, so that a disturbance meets all; after a round that warms up.
    """
    least = dict.fromkeys(ways, float("inf"))
    started = time.monotonic()
    for number in range(1 + _ROUNDS):
        for name, (path, setting) in ways.items():
            with product_setting(setting):
                seconds = _time_steps(path, spec, examples)
            least[name] = min(least[name], seconds) if number else float("inf")
        if number and time.monotonic() - started > _SECONDS:
            break
    return least


def _time_steps(path: TrainingPath, spec: RunSpec, examples: Examples) -> float:
    count = min(len(examples), _STEPS * spec.training.batch_size)
    num_replicas = len(path.accumulators.loss_R)
    order_RN = torch.arange(count).expand(num_replicas, -1).contiguous()
    num_steps = -(-count // spec.training.batch_size)
    started = time.perf_counter()
    path.make_steps(examples, StepRange(order_RN, 0, 0, [0.0] * num_steps))
    return time.perf_counter() - started


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
