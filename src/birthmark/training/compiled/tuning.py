"""What the compiled path chooses by a trial on the processor, at first use.

All choices keep each sum and the order of its terms, so no bit depends on them.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from birthmark.training.kept_trials import keep_trial

_WORTH_IT = 1.05  # times as quick must a choice be to be taken instead of the first
_ROUNDS, _SECONDS = 7, 1.0  # of a trial, at most
_SHORT, _LONG = 5e7, 1e10  # operations of a step between which a trial is worth it


@dataclass(frozen=True)
class Tuning:
    """Choices of the compiled path.

    Attributes:
        often: So many tiles below each other make it worth to lay a panel of the right
            matrix out before they walk down it; 0 if that is never worth it.
        cuts: Whether long sums are put aside after some terms, so that a panel stays in
            the first cache.
        joins: Whether replicas that see the same batches make the products of their
            first layers as one.
    """

    often: int = 8
    cuts: bool = True
    joins: bool = False


def find_tuning(
    choices: Sequence[Tuning],
    sizes: Sequence[int],
    words: Sequence[str],
    begin: Callable[[], Callable[[Tuning], float]],
) -> Tuning:
    """The quickest choice for networks of about this shape, the first unless tried.

    Args:
        choices: To choose from; the first is what is known to be good elsewhere.
        sizes: Examples of a batch, then units of each layer.
        words: What else the seconds depend on.
        begin: Makes ready for a trial; what it gives tells the seconds of a few steps.
    """
    batch, *units = sizes
    products = zip(units, units[1:], strict=False)
    operations = 6 * batch * sum(i * o for i, o in products)
    if len(choices) == 1 or not _SHORT < operations < _LONG:
        return choices[0]
    about = [str(1 << (size - 1).bit_length()) for size in sizes]
    offered = {_write(one): one for one in choices}
    found = keep_trial(
        "compiled",
        [*words, "x".join(about), *offered],
        lambda: _write(_try(choices, begin())),
        accept=offered.__contains__,
    )
    return offered[found]


def _try(choices: Sequence[Tuning], time_steps: Callable[[Tuning], float]) -> Tuning:
    least = dict.fromkeys(choices, float("inf"))
    started = time.monotonic()
    for _ in range(_ROUNDS):  # in turn, so that a disturbance meets all
        for one in choices:
            least[one] = min(least[one], time_steps(one))
        if time.monotonic() - started > _SECONDS:
            break
    best = min(choices, key=lambda one: least[one])
    return best if least[best] * _WORTH_IT < least[choices[0]] else choices[0]


def _write(tuning: Tuning) -> str:
    return json.dumps(asdict(tuning))
