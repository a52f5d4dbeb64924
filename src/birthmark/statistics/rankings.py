"""An order of candidates that says where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Literal

import numpy as np

from birthmark.shapes import Array
from birthmark.statistics.intervals import summarize_curves
from birthmark.statistics.paired import PairedDifference, compare_pairs


@dataclass(frozen=True, eq=False)
class Outcome:
    """One number for each candidate A and replica R, and which way is better."""

    name: str
    title: str
    unit: str
    better: Literal["low", "high", ""]  # '': neither, it is ordered by size
    values_AR: Array  # NaN where there is none
    censored_AR: Array  # bool: the value is a lower bound, the budget
    how: str  # how the number is made
    is_tested: bool = True  # whether pairs are told apart by chance and scatter
    caveat: str = ""  # a sentence on what the numbers of these candidates rest on


@dataclass(frozen=True)
class Standing:
    """Where one candidate stands in one outcome."""

    name: str
    mean: float
    low: float  # Student's 95 % of the mean
    high: float
    n: int
    num_censored: int  # replicas that had not reached it when the budget was spent
    letters: str  # two share one where no difference is seen; '' if it is not tested
    best_rank: int  # at best it has this one: with 95 % that holds for all at once


@dataclass(frozen=True)
class Ranking:
    """The candidates of one outcome: best first, or largest without a better."""

    outcome: Outcome
    standings: tuple[Standing, ...]
    pairs: tuple[PairedDifference, ...]  # () where it is not tested

    @property
    def sees_no_difference(self) -> bool:
        """Whether no pair at all is told apart."""
        return not any(pair.is_distinguished for pair in self.pairs)

    @property
    def leaders(self) -> tuple[Standing, ...]:
        """Those than which none is seen to be better."""
        return tuple(one for one in self.standings if one.best_rank == 1)

    def pair(self, a: str, b: str) -> PairedDifference:
        """The pair of these two, whichever comes first in it."""
        return next(pair for pair in self.pairs if {pair.a, pair.b} == {a, b})


def rank(names: Sequence[str], outcome: Outcome) -> Ranking:
    """Compare all pairs, and order the candidates as far as that tells them apart.

    The best rank that one may have is 1 + the number of candidates seen to be better.
    As the pairs hold a family-wise level, these ranks hold it too (Al Mohamad et al.,
    Biometrics 78, 238, 2022).
    """
    pairs = compare_pairs(names, outcome.values_AR) if outcome.is_tested else []
    curve = summarize_curves(outcome.values_AR)
    sign = 1 if outcome.better == "low" else -1
    beaten = {
        (pair.a, pair.b) if sign * pair.difference < 0 else (pair.b, pair.a)
        for pair in pairs
        if pair.is_distinguished
    }
    order = np.argsort(sign * curve.mean, kind="stable")  # NaN comes last
    ordered = [names[i] for i in order]
    letters = letter_display(ordered, [frozenset(pair) for pair in beaten])
    standings = [
        Standing(
            names[i],
            float(curve.mean[i]),
            float(curve.low[i]),
            float(curve.high[i]),
            int(curve.n[i]),
            int(outcome.censored_AR[i].sum()),
            letters[names[i]] if outcome.is_tested else "",
            1 + sum(loser == names[i] for _, loser in beaten),
        )
        for i in order
    ]
    return Ranking(outcome, tuple(standings), tuple(pairs))


def letter_display(
    names: Sequence[str], apart: Sequence[frozenset[str]]
) -> dict[str, str]:
    """Letters, of which two names share one exactly if they are not told apart.

    Insert and absorb (Piepho, J. Comput. Graph. Stat. 13, 456, 2004): each letter is a
    largest group of names none of which is told apart from another.

    Args:
        names: In the order in which they are shown; it decides about the letters.
        apart: Pairs that are told apart.
    """
    groups = [frozenset(names)]
    for pair in apart:
        split = [
            part
            for group in groups
            for part in ([group - {one} for one in pair] if pair <= group else [group])
        ]
        groups = [
            group
            for place, group in enumerate(split)
            if not any(group < other for other in split) and group not in split[:place]
        ]
    place_of = {name: place for place, name in enumerate(names)}
    groups.sort(key=lambda group: sorted(place_of[name] for name in group))
    return {
        name: "".join(
            _letter(number) for number, group in enumerate(groups) if name in group
        )
        for name in names
    }


def _letter(number: int) -> str:
    """a, ..., z, then a1, ..., z1 and so on."""
    turn, place = divmod(number, len(ascii_lowercase))
    return f"{ascii_lowercase[place]}{turn or ''}"
