"""Claims about how far weights end from their start, which travel, at which width."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from birthmark.analysis import (
    Measure,
    Study,
    choose_losses,
    deviation_at_loss,
    say_list,
    say_number,
)
from birthmark.shapes import Array
from .claims import (
    CLIPPED,
    DEPENDS,
    DOES_NOT_HOLD,
    HOLDS,
    NOT_SAID,
    Arm,
    Claim,
    Evidence,
    Finding,
    decide,
    lack_of_fit,
    weigh,
    weigh_exponent,
)
from .moments_of_training import Moment, at_end, at_min_test, at_min_train, read_at
from .words import say_or_dash, say_p, say_power, say_span

OUTER = 0.75  # of the bound: initial weights beyond are large
_BINNED = ["bound", "conditional_count", "conditional_mean", "conditional_skewness"]
# Glorot's bound falls with width so: what moves in proportion to its start falls alike
AS_THE_START = 0.5
_NORMS: dict[Measure, tuple[str, float]] = {  # in words, and the same null value there
    "deviation_std": ("per weight", AS_THE_START),
    "distance": ("Frobenius norm", AS_THE_START - 1),
    "spectral_distance": ("spectral norm", 0.0),
}
REDRAW = math.sqrt(2)  # relative distance of an independent draw


def claim_width(arms: list[Arm]) -> Claim:
    """(c) Wider networks deviate less at equal loss, by more than their starts do."""
    evidence: list[Evidence] = []
    decisive: list[Evidence] = []
    fits: list[str] = []
    for arm in arms:
        study = Study(tuple(run for column in arm.columns for run in column.runs))
        losses = _choose(study, arm.columns[0].transitions[0].chance_loss)
        last = study.runs[0].layer
        for layer in study.runs[0].spec.network.layer_names:
            for measure in _NORMS:
                falls, p_fits = _weigh_falls(arm, study, losses, layer, measure)
                evidence += falls
                if measure == "deviation_std" and arm.loss == CLIPPED:
                    fits += [f"{layer} {say_p(p)}" for p in p_fits[-1:]]
                    decisive += falls if layer == last else []
    found = decide(decisive, 1)
    if found.verdict == DEPENDS:  # on the loss, not on the width
        found = Finding(NOT_SAID, found.p)
    if not any(math.isfinite(one.value) for one in decisive):
        because = "No train loss is reached by networks of three widths."
    else:
        exponents = [
            f"{one.value:.2f} ({say_span(one.low, one.high)})" for one in decisive
        ]
        because = (
            f"Exponents between the hidden layers: {say_list(exponents)}. "
            f"That a power law fits has p = {say_list(fits)} at the least of these "
            "losses; where that is small the exponent is only a mean slope."
        )
    most = max((one.n for one in decisive), default=0)
    power = f"{most} networks at once" if decisive else "none"
    return Claim("c", found.verdict, found.p, because, power, tuple(evidence))


def _choose(study: Study, chance: float) -> list[float]:
    """The first, the middle and the last of the losses that two widths reach."""
    losses = choose_losses(study, chance)
    places = {0, len(losses) // 2, len(losses) - 1} if losses else set()
    return [losses[place] for place in sorted(places)]


def _weigh_falls(
    arm: Arm, study: Study, losses: list[float], layer: str, measure: Measure
) -> tuple[list[Evidence], list[float]]:
    """The exponent at each loss, and p that a power law fits."""
    words, null = _NORMS[measure]
    found = deviation_at_loss(study, losses, layer, measure)
    evidence, fits = [], []
    # the null value is that of a square matrix
    null = null if layer == study.runs[0].layer else math.nan
    for loss, values_AR in zip(losses, found.values, strict=True):
        by_width = dict(zip(map(float, found.along), values_AR, strict=True))
        name = f"{layer}, {words}, at a train loss of {say_number(loss)}"
        one = weigh_exponent(name, arm.name, by_width, null)
        if math.isfinite(one.value):
            evidence.append(one)
            fits.append(lack_of_fit(by_width))
    return evidence, fits


def claim_growth(arms: list[Arm], read: Callable[[str], xr.Dataset]) -> Claim:
    """(d) Larger initial weights grow, and their distribution is skewed outward."""
    evidence: list[Evidence] = []
    growths: dict[int, Evidence] = {}
    skews: dict[int, Evidence] = {}
    for arm in arms:
        for width, one in arm.by_width.items():
            runs = (run for column in one.columns for run in column.runs)
            seen = {
                r.run_key: read(r.run_key)[_BINNED].sel(layer=r.layer) for r in runs
            }
            two = _weigh_outward(one, seen, "the minimum of the train loss")
            evidence += two
            evidence += _weigh_outward(one, seen, "the end")
            if arm.loss == CLIPPED:
                growths[width], skews[width] = two
    parts = decide(list(growths.values()), 1), decide(list(skews.values()), 1)
    words = [f"{one.value:+.2f} at {width}" for width, one in growths.items()]
    lowest, highest = (
        say_or_dash(pick((one.value for one in skews.values()), default=math.nan))
        for pick in (min, max)
    )
    because = (
        f"Growth by width, of the bound: {', '.join(words)}; outward skewness {lowest} "
        f"to {highest}."
    )
    found = _join(parts)
    power = say_power([one.n for one in growths.values()])
    return Claim("d", found.verdict, found.p, because, power, tuple(evidence))


def _join(parts: tuple[Finding, ...]) -> Finding:
    """What holds only if each part does: the worst verdict, its p or the largest."""
    for verdict in (DOES_NOT_HOLD, DEPENDS, NOT_SAID):
        some = [one.p for one in parts if one.verdict == verdict]
        if some:
            return Finding(verdict, min(some))
    return Finding(HOLDS, max(one.p for one in parts))


def _weigh_outward(
    arm: Arm, seen: Mapping[str, xr.Dataset], moment: str
) -> list[Evidence]:
    """Growth in units of the bound and outward skewness of large weights.

    What is seen are records of one layer, by run key.
    """
    epoch = at_end if moment == "the end" else at_min_train
    found: list[tuple[float, float]] = []
    for column in arm.columns:
        for run, transitions in zip(column.runs, column.transitions, strict=True):
            records = seen[run.run_key]
            found += [
                outward_moments(records.isel(replica=place), epoch(transitions, place))
                for place in range(records.sizes["replica"])
            ]
    values: Array = np.array(found).T
    width = arm.columns[0].width
    names = ("growth of large weights (of the bound)", "outward skewness")
    return [
        weigh(f"{name} at {moment}, width {width}", arm.name, one, 0)
        for name, one in zip(names, values, strict=True)
    ]


def outward_moments(records: xr.Dataset, epoch: float) -> tuple[float, float]:
    """Growth and outward skewness of the weights that start large, of one matrix.

    The mean of the deviation away from zero in units of the bound, and the mean over
    bins of its skewness, both weighted by the weights in a bin, from the last
    distributions up to an epoch. Bins without weights, or with too few for a skewness,
    are left out of the mean, not the replica.
    """
    time = np.flatnonzero(records["distribution_epoch"].to_numpy() <= epoch)[-1]
    centre_M = records["bin"].to_numpy()
    large_M = np.abs(centre_M) > OUTER
    here = records.isel(distribution_step=int(time), bin=large_M)
    weight_M = here["conditional_count"].to_numpy().astype(float)
    outward_M = np.sign(centre_M[large_M])

    def average(name: str) -> float:
        values_M = outward_M * here[name].to_numpy()
        known = np.isfinite(values_M) & (weight_M > 0)
        if not known.any():
            return math.nan
        return float(np.average(values_M[known], weights=weight_M[known]))

    growth = average("conditional_mean") / float(here["bound"])
    return growth, average("conditional_skewness")


def claim_nearness(arms: list[Arm]) -> Claim:
    """(a1) Successful training ends nearer to its start than an independent draw."""
    return _claim_distance(
        arms, "a1", "relative_distance", at_end, REDRAW, -1, ("strong",)
    )


def claim_memory(arms: list[Arm]) -> Claim:
    """(a2) Where training succeeds, the weights still show their start."""
    return _claim_distance(arms, "a2", "correlation", at_end, 0.0, 1, ("strong",))


def claim_best_nearness(arms: list[Arm]) -> Claim:
    """(a3) Where the test loss is least, networks are nearer than a new draw.

    At that time none has failed yet, so all that ever learn are looked at.
    """
    kinds = ("strong", "unstable", "undecided")
    return _claim_distance(
        arms, "a3", "relative_distance", at_min_test, REDRAW, -1, kinds
    )


def _claim_distance(
    arms: list[Arm],
    letter: str,
    measure: str,
    moment: Moment,
    null: float,
    side: int,
    kinds: tuple[str, ...],
) -> Claim:
    """A measure of the way from the start against what a new draw would have."""
    by_width = {
        arm.loss: _weigh_widths(arm, measure, moment, null, kinds) for arm in arms
    }
    clipped = by_width.get(CLIPPED, {})
    found = decide(list(clipped.values()), side)
    words = [f"{_say_one(one)} at {width}" for width, one in clipped.items()]
    because = "No network of that kind is there."
    if words:
        because = f"By width: {', '.join(words)}."
    evidence = [one for widths in by_width.values() for one in widths.values()]
    counts = [one.n for one in clipped.values()]
    return Claim(
        letter, found.verdict, found.p, because, say_power(counts), tuple(evidence)
    )


def _weigh_widths(
    arm: Arm, measure: str, moment: Moment, null: float, kinds: tuple[str, ...]
) -> dict[int, Evidence]:
    found = {}
    for width, one in arm.by_width.items():
        chosen = one.each(read_at(measure, moment))[np.isin(one.learners, kinds)]
        name = f"{measure.replace('_', ' ')}, width {width}"
        if chosen.size:
            found[width] = weigh(name, arm.name, chosen, null)
    return found


def _say_one(one: Evidence) -> str:
    if one.n < 2:
        return f"{say_number(one.value)} (one network)"
    return f"{say_number(one.value)} ({say_span(one.low, one.high)})"
