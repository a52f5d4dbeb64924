"""Claims about when and whether training fails."""

import math
from typing import Literal

import numpy as np
from scipy import stats

from birthmark.analysis import Run, Transitions
from birthmark.shapes import Array
from birthmark.statistics import ALPHA
from ..statistics import detectable_share, exact_order
from .claims import (
    CLIPPED,
    DOES_NOT_HOLD,
    HOLDS,
    LOGITS,
    NOT_SAID,
    Arm,
    Claim,
    Evidence,
    weigh,
    weigh_count,
    weigh_share,
)
from .moments_of_training import find_divergences, find_lag
from .words import say_lags

REGIME = (75, 300)  # widths between which Figure 2c has the regime
FEWEST = 11  # networks of which one shows a share of 1/4 with a power of 95 %
FALSE_ALARMS = 0.01  # share of networks that a rise may be seen in by mistake, at most
RISE = "2 times the minimum"  # the date by which Figure 2 draws its line
_DATES = {  # of the rises, by which both are held together
    "change points": find_lag("change points"),
    "half of the rise": find_lag("share"),
    "steepest rise": find_lag("steepest"),
}
_ONSET = find_lag("share", 0.1)


def claim_coincidence(arms: list[Arm]) -> Claim:
    """(b) Loss and deviation jump together, where everything is lost."""
    clipped = _find(arms, CLIPPED)
    if clipped is None:
        return _nothing("b", "No network was trained with the clipped loss.")
    lost = clipped.each(_is_lost) > 0
    windows = clipped.each(lambda run, found, place: float(found.window))[lost]
    lags = {name: clipped.each(date)[lost] for name, date in _DATES.items()}
    onset = clipped.each(_ONSET)[lost]
    n = len(windows)
    together = {
        # what has no date in one of the curves is not together
        name: np.abs(np.nan_to_num(lag, nan=math.inf)) <= windows
        for name, lag in lags.items()
    }
    evidence = [
        weigh(f"lag of the deviation (epochs), {name}", clipped.name, lag, 0.0)
        for name, lag in [*lags.items(), ("a tenth of the rise", onset)]
    ]
    counts = [
        weigh_count(f"within a window, {name}", clipped.name, flags, 0.5)
        for name, flags in together.items()
    ]
    power = _say_count_power(n, 0.5)
    if not n:
        return _nothing("b", "No network loses what it learned.", power)
    # twice the one-sided p, since either verdict may be come to
    below = [2 * _one_sided(flags, 0.5, "less") for flags in together.values()]
    above = [2 * _one_sided(flags, 0.5, "greater") for flags in together.values()]
    verdict, p = NOT_SAID, min(max(above), 1.0)
    if max(above) <= ALPHA:
        verdict = HOLDS
    elif max(below) <= ALPHA:
        verdict, p = DOES_NOT_HOLD, max(below)
    said = "; ".join(
        f"{int(flags.sum())} of {n} by {name} (lags {say_lags(lags[name])})"
        for name, flags in together.items()
    )
    because = (
        f"Within a window of each other: {said}. At a tenth of the rise the lags are "
        f"{say_lags(onset)}: what is together is the jump, not its beginning."
    )
    return Claim("b", verdict, p, because, power, tuple(evidence + counts))


def claim_untrainability(arms: list[Arm]) -> Claim:
    """(e1) Networks learn, and later lose it: the train loss rises for good."""
    evidence: list[Evidence] = []
    words = []
    for arm in arms:
        rose = arm.each(_rises) > 0
        evidence.append(weigh_share("share that rises for good", arm.name, rose))
        words.append(f"{int(rose.sum())} of {len(rose)} with the {arm.name}")
    clipped = _find(arms, CLIPPED)
    if clipped is None:
        return _nothing("e1", "No network was trained with the clipped loss.")
    rose = clipped.each(_rises) > 0
    widths = clipped.by_width
    wholly = [n for n, one in widths.items() if (one.each(_rises) > 0).all()]
    p = _one_sided(rose, FALSE_ALARMS, "greater")
    verdict = HOLDS if p <= ALPHA and wholly else NOT_SAID
    because = (
        f"{' and '.join(words)}; all networks of width "
        f"{', '.join(map(str, wholly)) or 'none'}."
    )
    inside = [c for c in clipped.columns if REGIME[0] <= c.width <= REGIME[1]]
    here = sum(column.num_replicas for column in inside)
    if not rose.any():
        because += f" At these widths the share is below {evidence[0].high:.2f} (95 %)."
        p = 0.75**here if here >= FEWEST else math.nan
        verdict = DOES_NOT_HOLD if here >= FEWEST else NOT_SAID
    power = (
        f"{here} networks of {REGIME[0]} to {REGIME[1]} units: {_say_few(here)}"
        if here
        else "none"
    )
    return Claim("e1", verdict, p, because, power, tuple(evidence))


def claim_bounds(arms: list[Arm]) -> Claim:
    """(e2) Narrower networks learn too little, wider ones train for good."""
    clipped = _find(arms, CLIPPED)
    kinds = {} if clipped is None else {c.width: c.majority for c in clipped.columns}
    order = ("weak", "unstable", "strong")
    along = [kinds[width] for width in sorted(kinds)]
    missing = [kind for kind in order if kind not in along]
    found = exact_order(along, order)
    listed = ", ".join(f"{n} {kinds[n] or 'mixed'}" for n in sorted(kinds))
    because = f"By what most networks of a width are: {listed}."
    best = min(2 * found.least_p, 1)
    power = f"{found.n} widths that are one kind: p = {best:.2g} at best"
    if missing:
        because += f" None is {' or '.join(missing)}."
        return Claim("e2", NOT_SAID, math.nan, because, power)
    backwards = exact_order(along, order[::-1])
    p = min(2 * min(found.p, backwards.p), 1.0)
    way = HOLDS if found.p < backwards.p else DOES_NOT_HOLD
    because += f" {found.discordant} pairs of widths are in the wrong order."
    return Claim("e2", way if p <= ALPHA else NOT_SAID, p, because, power)


def claim_clip(arms: list[Arm]) -> Claim:
    """(e3) Only the clipped loss takes networks up to its plateau."""
    both = [_find(arms, CLIPPED), _find(arms, LOGITS)]
    clipped, logits = both
    if clipped is None or logits is None:
        return _nothing("e3", "Both losses are needed.")
    widths = {c.width for c in clipped.columns} & {c.width for c in logits.columns}
    lost = []
    for arm in (clipped, logits):
        here = Arm(arm.loss, [c for c in arm.columns if c.width in widths])
        lost.append(here.each(_is_lost) > 0)
    table = [[int(flags.sum()), int((~flags).sum())] for flags in lost]
    p = float(stats.fisher_exact(np.array(table)).pvalue)
    verdict = NOT_SAID
    if p <= ALPHA:
        verdict = HOLDS if lost[0].mean() > lost[1].mean() else DOES_NOT_HOLD
    names = ", ".join(map(str, sorted(widths)))
    because = (
        f"At the widths {names} {table[0][0]} of {len(lost[0])} networks come to the "
        f"plateau, and {table[1][0]} of {len(lost[1])} trained from logits to the loss "
        "of chance."
    )
    n, m = map(len, lost)
    tables = [np.array([[k, n - k], [0, m]]) for k in range(n + 1)]
    shown = [stats.fisher_exact(one).pvalue <= ALPHA for one in tables]
    fewest = f"{shown.index(True)} against 0 at least" if any(shown) else "none"
    power = f"{n} against {m} networks: {fewest}"
    evidence = [
        weigh_share("share that loses everything", arm.name, flags)
        for arm, flags in zip((clipped, logits), lost, strict=True)
    ]
    return Claim("e3", verdict, p, because, power, tuple(evidence))


def _find(arms: list[Arm], loss: str) -> Arm | None:
    return next((arm for arm in arms if arm.loss == loss), None)


def _nothing(letter: str, because: str, power: str = "none") -> Claim:
    return Claim(letter, NOT_SAID, math.nan, because, power)


def _one_sided(flags: Array, chance: float, way: Literal["less", "greater"]) -> float:
    return float(stats.binomtest(int(flags.sum()), len(flags), chance, way).pvalue)


def _say_count_power(n: int, chance: float) -> str:
    fewest = detectable_share(n, chance, ALPHA / 2)
    if fewest is None:
        return f"{n} networks: none"
    return f"{n} networks: {fewest} of them at least"


def _say_few(n: int) -> str:
    """The share of which at least one network shows with a power of 80 %."""
    return f"a share from {1 - 0.2 ** (1 / n):.2f} on shows in one of them"


def _is_lost(run: Run, found: Transitions, place: int) -> float:
    """Whether a replica learned, and later reached the level of divergence."""
    return float(found.divergence_epoch[place] > found.reached_epoch[place])


def _rises(run: Run, found: Transitions, place: int) -> float:
    """Whether it learned, and its loss then stays above twice its minimum."""

    def find() -> Array:
        found = find_divergences(run.records, run.spec)
        return next(one.epoch for one in found if one.name == RISE)

    dates = run.remember(("rise", RISE), find)
    return float(dates[place] > found.reached_epoch[place])
