"""The claims of Jesus et al. (arXiv 2012.02550): evidence, and how verdicts come.

Evidence is a number over replicas against what it would be if a claim were empty. Each
claim stands in the registry with its test, the null value of that test, what would
refute it, and what the networks at hand could show at all (its power). A verdict rests
on the p-value of the test that decides it; over all claims and data sets these are held
to 5 % together by Holm's procedure, so that a claim whose own p-value does not survive
this cannot be said.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from birthmark.analysis import Column, Run, Transitions
from birthmark.shapes import Array
from birthmark.statistics import ALPHA, Estimate, holm, summarize

CLIPPED, LOGITS = "clipped_cross_entropy", "cross_entropy"
LOSSES = {CLIPPED: "clipped loss", LOGITS: "loss from logits"}  # in plain words
_FEWEST_WIDTHS = 3  # from which an exponent is one


@dataclass(frozen=True)
class Arm:
    """All replicas that were trained with one loss, over the widths."""

    loss: str  # as in a spec
    columns: list[Column]

    @property
    def name(self) -> str:
        """The loss in plain words."""
        return LOSSES[self.loss]

    @property
    def num_replicas(self) -> int:
        """Of all widths together."""
        return sum(column.num_replicas for column in self.columns)

    @property
    def networks(self) -> list[tuple[Run, Transitions, int]]:
        """Run, transitions and place in the stack of each replica."""
        return [
            (run, transitions, place)
            for column in self.columns
            for run, transitions in zip(column.runs, column.transitions, strict=True)
            for place in range(len(transitions.min_train_loss))
        ]

    def each(self, function: Callable[[Run, Transitions, int], float]) -> Array:
        """A number for each of the networks."""
        return np.array([function(*one) for one in self.networks])

    @property
    def learners(self) -> Array:
        """What each of the networks is."""
        return np.concatenate([column.learners for column in self.columns])

    @property
    def by_width(self) -> "dict[int, Arm]":
        """Those of one width, since two widths are not replicas of each other."""
        return {c.width: Arm(self.loss, [c]) for c in self.columns}


@dataclass(frozen=True)
class Evidence:
    """A mean over replicas, or an exponent, with its interval and its null value."""

    name: str  # plain words
    arm: str  # of which replicas
    value: float
    low: float  # 95 % by the named test; NaN: too few replicas
    high: float
    n: int
    null: float
    effect: float  # (mean - null) / std over replicas; of an exponent: itself
    p: float  # two-sided, by itself; NaN: not tested

    @property
    def side(self) -> int:
        """1 or -1 where the whole interval lies on one side of the null value, or 0."""
        if self.low > self.null:
            return 1
        return -1 if self.high < self.null else 0


def weigh(name: str, arm: str, values: Array, null: float) -> Evidence:
    """The mean of values against a null value, by Student's t.

    Where all values are equal, t does not exist: p is that of the exact sign test.
    """
    x = values[np.isfinite(values)]
    found: Estimate = summarize(x)
    n, std = len(x), float(x.std(ddof=1)) if len(x) > 1 else math.nan
    if std > 0:
        effect = (found.mean - null) / std
        p = float(2 * stats.t.sf(abs(effect) * math.sqrt(n), n - 1))
    else:
        effect = math.nan
        p = math.nan if n < 2 else 1.0 if found.mean == null else 2.0 ** (1 - n)
    return Evidence(name, arm, found.mean, found.low, found.high, n, null, effect, p)


def weigh_share(name: str, arm: str, flags: Array) -> Evidence:
    """The share of replicas with a property; exact interval (Clopper-Pearson)."""
    k, n = int(flags.sum()), len(flags)
    low, high = math.nan, math.nan
    if n:
        span = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
        low, high = float(span.low), float(span.high)
    share = k / n if n else math.nan
    return Evidence(name, arm, share, low, high, n, 0.0, math.nan, math.nan)


def weigh_count(name: str, arm: str, flags: Array, chance: float) -> Evidence:
    """A share against what chance would give: the exact binomial test, two-sided."""
    share = weigh_share(name, arm, flags)
    k, n = int(flags.sum()), len(flags)
    p = float(stats.binomtest(k, n, chance).pvalue) if n else math.nan
    return replace(share, null=chance, p=p)


def weigh_exponent(
    name: str, arm: str, values: Mapping[float, Array], null: float
) -> Evidence:
    """The exponent of a fall with width against a null value, by least squares.

    Student's t of the slope of ln deviation on ln width over all replicas. What a power
    law does not fit widens the scatter, and with it the interval. Two widths are no
    exponent: NaN.
    """
    logs, x, y = _take_logs(values)
    if len(logs) < _FEWEST_WIDTHS:
        return Evidence(name, arm, *(math.nan,) * 3, len(y), null, *(math.nan,) * 2)
    line = stats.linregress(x, y)
    exponent, error, free = -float(line.slope), float(line.stderr), len(y) - 2
    half = float(stats.t.isf(0.025, free)) * error
    t = (exponent - null) / error if error > 0 else math.inf
    p = float(2 * stats.t.sf(abs(t), free))
    return Evidence(
        name, arm, exponent, exponent - half, exponent + half, len(y), null, exponent, p
    )


def lack_of_fit(values: Mapping[float, Array]) -> float:
    """P of the F-test that a power law fits: scatter about it over that of replicas.

    NaN with two widths, which every line fits, or without replicas.
    """
    logs, x, y = _take_logs(values)
    groups, n = len(logs), len(y)
    if groups < _FEWEST_WIDTHS or n <= groups:
        return math.nan
    line = stats.linregress(x, y)
    about_line = float(((y - line.intercept - line.slope * x) ** 2).sum())
    pure = sum(float(((y - y.mean()) ** 2).sum()) for y in logs.values())
    if pure == 0:
        return math.nan
    ratio = (about_line - pure) / (groups - 2) / (pure / (n - groups))
    return float(stats.f.sf(ratio, groups - 2, n - groups))


def _take_logs(
    values: Mapping[float, Array],
) -> tuple[dict[float, Array], Array, Array]:
    """Logarithms of positive values by that of the width, and all as x and y."""
    logs = {math.log(n): np.log(d[np.isfinite(d) & (d > 0)]) for n, d in values.items()}
    logs = {x: y for x, y in logs.items() if len(y)}
    x = np.concatenate([np.zeros(0), *(np.full(len(y), x) for x, y in logs.items())])
    return logs, x, np.concatenate([np.zeros(0), *logs.values()])


HOLDS = "holds"
DEPENDS = "depends on the width"
DOES_NOT_HOLD = "does not hold"
NOT_SAID = "cannot be said"
VERDICTS = (HOLDS, DEPENDS, DOES_NOT_HOLD, NOT_SAID)


@dataclass(frozen=True)
class Finding:
    """What one test says: a verdict, and the p-value that it rests on."""

    verdict: str  # one of VERDICTS
    p: float  # NaN where nothing was tested


NOTHING = Finding(NOT_SAID, math.nan)


@dataclass(frozen=True)
class Claim:
    """What records say of one claim of the registry."""

    letter: str  # of the registry: `a1` ... `g2`
    verdict: str  # one of VERDICTS
    p: float  # of the deciding test by itself; NaN: nothing was tested
    because: str  # the verdict in a sentence or two, with what limits it
    power: str  # what the networks at hand could have shown
    evidence: tuple[Evidence, ...] = ()
    p_holm: float = math.nan  # over all claims that were tested together


def decide(places: Sequence[Evidence], side: int) -> Finding:
    """What the tests of several widths say of a claim about each of them.

    That all lie on the predicted side is an intersection-union test: the largest
    p-value is that of the claim (Berger 1982). That some do not needs correction for
    having looked at all: Holm.

    What has no p-value (a single replica) says nothing. The side is 1 where the claim
    says "above the null value", -1 below.
    """
    known = [one for one in places if math.isfinite(one.p)]
    if not known:
        return NOTHING
    raw = np.array([one.p for one in known])
    agree = np.array([np.sign(one.value - one.null) == side for one in known])
    if agree.all():
        largest = float(raw.max())
        return Finding(HOLDS if largest <= ALPHA else NOT_SAID, largest)
    adjusted = holm(raw)
    against = float(adjusted[~agree].min())
    if against > ALPHA:
        return Finding(NOT_SAID, against)
    least_for = float(adjusted[agree].min()) if agree.any() else math.nan
    if least_for <= ALPHA:
        return Finding(DEPENDS, max(against, least_for))
    return Finding(DOES_NOT_HOLD, against)


def correct(families: Sequence[Sequence[Claim]]) -> list[list[Claim]]:
    """The same, by data set, with p over all of them and the verdicts that survive."""
    every = [claim for claims in families for claim in claims]
    tested = [place for place, one in enumerate(every) if math.isfinite(one.p)]
    adjusted = holm([every[place].p for place in tested])
    for place, p in zip(tested, adjusted, strict=True):
        one = every[place]
        stands = p <= ALPHA or one.verdict == NOT_SAID
        every[place] = replace(
            one, p_holm=float(p), verdict=one.verdict if stands else NOT_SAID
        )
    left = iter(every)
    return [[next(left) for _ in claims] for claims in families]
