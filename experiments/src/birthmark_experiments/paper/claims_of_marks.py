"""The claims about the mark: read by eye's measure, where weights were kept."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from birthmark.analysis import Run, Transitions, draw_masks, say_number
from birthmark.shapes import Array
from birthmark.statistics import ALPHA, Reading, read_mark
from .claims import (
    DOES_NOT_HOLD,
    HOLDS,
    NOT_SAID,
    Arm,
    Claim,
    Evidence,
    weigh,
    weigh_count,
)
from .moments_of_training import MOMENTS, at_end, read_at, value_at

FEWEST = 3  # networks from which something is said
Weights = Callable[[Run, int], Array]  # [R, I, O] of the marked layer at an epoch


@dataclass(frozen=True)
class Read:
    """The mark in one network at one epoch, and what became of the network."""

    loss: str
    width: int
    replica: int
    learner: str
    epoch: int
    collapsed: bool  # it has lost everything by then
    reading: Reading

    @property
    def network(self) -> tuple[str, int, int]:
        """Which one it is."""
        return self.loss, self.width, self.replica


def read_marks(
    arms: list[Arm], epochs: Callable[[Run], Sequence[int]], weights: Weights
) -> list[Read]:
    """Every network whose weights were kept, at the last time and before its collapse.

    The epochs of a run are those at which its weights, [R, I, O], were kept.
    """
    found = []
    for arm in arms:
        pairs = zip(arm.networks, arm.learners.tolist(), strict=True)
        for (run, transitions, place), learner in pairs:
            kept = [epoch for epoch in epochs(run) if epoch > 0]
            lost = float(transitions.divergence_epoch[place])
            before = [epoch for epoch in kept if epoch < lost]
            for epoch in sorted({*kept[-1:], *before[-1:]}):
                w_IO = np.asarray(weights(run, epoch)[place], dtype=float)
                masks = run.remember(("masks",), partial(_masks, run, w_IO))
                about = (arm.name, run.width, place, learner, epoch)
                found.append(Read(*about, lost <= epoch, read_mark(w_IO, *masks)))
    return found


def _masks(run: Run, w_IO: Array) -> tuple[Array, dict[str, Array]]:
    assert run.spec.mark is not None
    return draw_masks(run.spec.mark, w_IO)


def claim_mark(arms: list[Arm], reads: Sequence[Read]) -> Claim:
    """(f1) The mark stays readable where training succeeds."""
    evidence = _weigh_pixels(arms, "strong")
    kind = ("strong", "clipped loss")
    last = [one for one in _last(reads) if (one.learner, one.loss) == kind]
    count = sum(one.reading.is_read for one in last)
    power = f"{len(last)} strong networks with weights"
    if not last:
        because = "No strong network kept its weights: no letter can be looked for."
        return Claim("f1", NOT_SAID, math.nan, because, power, tuple(evidence))
    flags = np.array([one.reading.is_read for one in last])
    evidence.append(weigh_count("letter read, strong", "clipped loss", flags, 1 / 26))
    because = (
        f"The letter is read at the end in {count} of {len(last)} strong networks "
        f"whose weights were kept (pooled AUC {_say_aucs(last)}). "
    )
    verdict = NOT_SAID
    p = max(one.reading.p for one in last)
    if len(last) < FEWEST:
        because += f"From {FEWEST} on something is said."
        p = math.nan
    elif flags.all():
        verdict = HOLDS
    elif 2 * count < len(last):
        p = float(stats.binomtest(count, len(last), 0.5, "less").pvalue)
        verdict = DOES_NOT_HOLD if p <= ALPHA else NOT_SAID
    return Claim("f1", verdict, p, because, power, tuple(evidence))


def claim_loss_of_mark(arms: list[Arm], reads: Sequence[Read]) -> Claim:
    """(f2) The mark is lost where training fails: within networks, by the collapse."""
    evidence = _weigh_pixels(arms, "unstable")
    after = [one for one in _last(reads) if one.collapsed]
    power = f"{len(after)} collapsed networks with weights"
    if not after:
        because = "No collapsed network kept its weights."
        return Claim("f2", NOT_SAID, math.nan, because, power, tuple(evidence))
    before = [_last_before(one, reads) for one in after]
    earlier = np.array([one.reading.auc if one else math.nan for one in before])
    changes = np.array([one.reading.auc for one in after]) - earlier
    read = np.array([one.reading.is_read for one in after])
    evidence += [
        weigh_count("letter read after the collapse", "clipped loss", read, 1 / 26),
        weigh("pooled AUC, after minus before the collapse", "pairs", changes, 0.0),
    ]
    p = float(stats.binomtest(int(read.sum()), len(read), 1 / 26, "greater").pvalue)
    verdict = DOES_NOT_HOLD if p <= ALPHA else NOT_SAID
    if not read.any():  # a reader that is right half of the time would be seen
        p = 0.5 ** len(read)
        verdict = HOLDS if p <= ALPHA else NOT_SAID
    known = [one for one in before if one is not None]
    because = (
        f"After the collapse the letter is still read in {int(read.sum())} of "
        f"{len(read)} networks: right among 26 letters, where chance is 1 in 26. The "
        f"pooled AUC goes from {_say_aucs(known)} to {_say_aucs(after)}"
        f"{', and is lower in each' if (changes < 0).all() else ''}."
    )
    return Claim("f2", verdict, p, because, power, tuple(evidence))


def _weigh_pixels(arms: list[Arm], kind: str) -> list[Evidence]:
    """Retention weight by weight, by width: of all runs, with or without weights."""
    found = []
    for arm in arms:
        for width, one in arm.by_width.items():
            chosen = one.learners == kind
            for moment, epoch in MOMENTS.items():
                values = one.each(read_at("mark_auc", epoch))[chosen]
                name = f"pixel AUC at {moment}, {kind}, width {width}"
                found += [weigh(name, arm.name, values, 0.5)] if values.size else []
            if kind == "unstable" and chosen.any():
                values = one.each(_change)[chosen]
                name = f"pixel AUC, end minus least train loss, width {width}"
                found.append(weigh(name, arm.name, values, 0.0))
    return found


def _change(run: Run, found: Transitions, place: int) -> float:
    """The change of retention across the collapse of one network."""
    ends = (at_end(found, place), float(found.min_train_epoch[place]))
    end, best = (value_at(run, "mark_auc", run.layer, one, place) for one in ends)
    return end - best


def _last(reads: Sequence[Read]) -> list[Read]:
    """Each network at the last epoch at which it was read."""
    by_epoch = sorted(reads, key=lambda one: one.epoch)
    return list({one.network: one for one in by_epoch}.values())


def _last_before(after: Read, reads: Sequence[Read]) -> Read | None:
    """The same network when it was last read before it collapsed."""
    same = [one for one in reads if one.network == after.network and not one.collapsed]
    return max(same, key=lambda one: one.epoch, default=None)


def _say_aucs(reads: Sequence[Read]) -> str:
    values = [one.reading.auc for one in reads]
    if not values:
        return "unknown"
    if len(values) == 1:
        return say_number(values[0])
    return f"{say_number(min(values))} to {say_number(max(values))}"
