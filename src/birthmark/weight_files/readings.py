"""One tensor of two checkpoints: what moved, and what chance alone would have done."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch

from birthmark.weight_files.contents import Resemblance
from birthmark.weight_files.glances import RELATED, UNRELATED
from birthmark.weight_files.pairing import Match
from birthmark.weight_files.spectra import SampleSpectrum
from birthmark.weight_files.sums import Sums, coarser

State = Literal[
    "identical",  # bit for bit
    "rounded",  # the same, stored in another dtype
    "scaled",  # one factor for all, as weight decay alone does
    "moved",
    "unrelated",  # as far from it as a re-draw
    "filled",  # all values were equal, and no longer are
    "broken",  # NaN or Inf where there was none
]

# standard deviation of the null model above which nothing can be told
_WEAK = 0.2
_CONSTANT = 1e-13  # relative variance in float64 of values that are all equal


@dataclass(frozen=True)
class Reading:
    """A number beside what each null model gives; None where it says nothing."""

    value: float
    redraw: float | None = None  # values of b in another order
    redraw_std: float | None = None
    noise: float | None = None  # the same moves, made by other weights
    decay: float | None = None  # one factor for all weights


@dataclass(frozen=True)
class TensorDiff:
    """One tensor of both checkpoints."""

    name: str  # as the second has it
    name_a: str
    how: str  # how they were matched; '' by the same name and shape
    shape: tuple[int, ...]
    dtype_a: str
    dtype_b: str
    kind: Literal["weight", "vector", "buffer"]
    state: State
    count: int
    readings: Mapping[str, Reading]
    relation: Resemblance | None = None  # of a sample
    fresh_a: bool | None = None  # whether the first looks as just drawn; None: untold
    fresh_b: bool | None = None
    law: str = ""  # by which the first looks drawn
    sums: Sums = field(default_factory=Sums, repr=False)
    units: tuple[float, float] = (1.0, 1.0)  # in which the numbers of both are summed

    @property
    def related(self) -> bool | None:
        """Whether the second comes from the first; None where it cannot be told."""
        if self.state in ("identical", "rounded", "scaled"):
            return True
        return _told(self.relation)


def read_tensor(
    match: Match,
    sums: Sums,
    relation: Resemblance | None,
    spectrum: SampleSpectrum | None,
) -> tuple[State, dict[str, Reading]]:
    """The state of a tensor and its numbers, each with its null models.

    Args:
        match: The tensors.
        sums: Over all their numbers.
        relation: Of a sample of them.
        spectrum: Of a sample of the deviation.
    """
    units = (match.pieces[0][0].unit, match.pieces[0][1].unit)
    readings = _read_sums(sums, relation, units)
    if spectrum is not None:
        readings["participation_ratio"] = Reading(
            spectrum.participation_ratio, noise=spectrum.noise
        )
    return _state(match, sums, relation), readings


def _read_sums(
    sums: Sums, relation: Resemblance | None, units: tuple[float, float]
) -> dict[str, Reading]:
    unit = max(units)  # of the deviation: beside the larger one the other is nothing
    moved, rise = unit / units[0], units[1] / units[0]
    n = max(sums.count, 1.0)
    norm_a, norm_b = math.sqrt(sums.aa), math.sqrt(sums.bb)
    variance_a = _variance(sums.aa, sums.a, n)
    variance_b = _variance(sums.bb, sums.b, n)
    variance_d = max(sums.dd / n - ((sums.b - sums.a) / n) ** 2, 0.0)
    covariance = sums.ab / n - sums.a * sums.b / n**2
    correlation = _clip(_over(covariance, math.sqrt(variance_a * variance_b)))
    slope = _over(covariance, variance_a) * rise
    std = None if relation is None else relation.null_std
    redraw_dd = sums.aa + sums.bb - 2 * sums.a * sums.b / n
    # what one factor for all would leave: none of the residual, all of the line
    factor = _over(sums.ab, sums.aa) * rise
    return {
        "distance": Reading(
            unit * math.sqrt(sums.dd),
            redraw=unit * math.sqrt(max(redraw_dd, 0.0)),
            decay=units[0] * abs(1 - factor) * norm_a,
        ),
        "relative_distance": Reading(
            _over(math.sqrt(sums.dd), norm_a) * moved,
            redraw=_over(math.sqrt(max(redraw_dd, 0.0)), norm_a) * moved,
            decay=abs(1 - factor),
        ),
        "deviation_max": Reading(unit * sums.largest),
        "correlation": Reading(
            correlation,
            redraw=0.0,
            redraw_std=std,
            noise=1 / math.hypot(1, math.sqrt(_over(variance_d, variance_a)) * moved),
            decay=math.copysign(1.0, factor) if math.isfinite(factor) else None,
        ),
        "cosine": Reading(
            _clip(_over(sums.ab, norm_a * norm_b)),
            redraw=_over(sums.a * sums.b / n, norm_a * norm_b),
            noise=_over(norm_a, math.hypot(norm_a, math.sqrt(sums.dd) * moved)),
            decay=math.copysign(1.0, factor) if math.isfinite(factor) else None,
        ),
        "slope": Reading(slope, redraw=0.0, noise=1.0, decay=factor),
        "shrinkage": Reading(
            # share of the squared move that one factor for all explains
            _over(sums.ad**2, sums.aa * sums.dd),
            noise=1 / n,
            decay=1.0,
        ),
        "sign_flips": Reading(
            1 - _over(sums.kept, sums.signed),
            redraw=_redrawn_flips(sums),
            noise=1 - _over(sums.kept_by_noise, sums.positive_a + sums.negative_a),
            decay=0.0 if factor > 0 else 1.0,
        ),
        "changed": Reading(sums.changed / n),
        "nonfinite_count": Reading(sums.nonfinite_b),
    }


def _redrawn_flips(sums: Sums) -> float:
    """Share of signs that are not kept when the values of b stand in another order."""
    signed = (sums.positive_a + sums.negative_a) * sums.sampled
    kept = sums.positive_a * sums.positive_b + sums.negative_a * sums.negative_b
    return 1 - _over(kept, signed)


def _state(match: Match, sums: Sums, relation: Resemblance | None) -> State:
    if sums.nonfinite_b > sums.nonfinite_a:
        return "broken"
    one, other = (piece.dtype for piece in match.pieces[0])
    if not sums.changed and sums.nonfinite_a == sums.nonfinite_b:
        return "identical" if one == other else "rounded"
    n = max(sums.count, 1.0)
    if math.isnan(_variance(sums.aa, sums.a, n)):
        return "filled"
    # one factor explains most of it, and what it leaves is rounding
    left = sums.dd - _over(sums.ad**2, sums.aa)
    if n > 1 and left <= min(_rounding(one, other) * sums.bb, sums.dd / 2):
        return "scaled"
    return "unrelated" if _told(relation) is False else "moved"


def _told(relation: Resemblance | None) -> bool | None:
    """Whether a sample resembles the other; None where that cannot be told."""
    if relation is None or not relation.null_std < _WEAK:
        return None
    between = UNRELATED < relation.score <= RELATED
    return None if between else relation.score > RELATED


def _rounding(a: torch.dtype, b: torch.dtype) -> float:
    """Relative squared rounding of a product that is stored in the coarser dtype."""
    dtype = coarser(a, b)
    return torch.finfo(dtype).eps ** 2 if dtype.is_floating_point else 0.0


def _variance(squares: float, total: float, n: float) -> float:
    """Of the population; NaN where all values are equal."""
    variance = squares / n - (total / n) ** 2
    constant = variance <= _CONSTANT * (total / n) ** 2 or variance <= 0
    return float("nan") if constant else variance


def _over(x: float, y: float) -> float:
    return x / y if y else float("nan")


def _clip(x: float) -> float:
    return x if math.isnan(x) else max(-1.0, min(1.0, x))
