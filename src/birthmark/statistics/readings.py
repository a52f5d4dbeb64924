"""Whether a mark in a matrix can be read: a detector that pools as an eye does.

Weight by weight a mark may be nearly gone (an area under the ROC curve of 0.57) and
still be plain to see, since an eye adds up what lies side by side. So |w| is scaled to
rows and columns of equal root mean square, blurred by a Gaussian of n / 60, and only
then held against the mask.

Two nulls stand beside its AUC. Units are drawn alike, so that without a mark every
order of the rows and of the columns is as likely as any other: the matrix with its
rows and columns permuted is the twin without a mark, and the share of such twins that
score as high is an exact p-value. And other letters are wrong masks: what can be read
scores higher under the right one than under all of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from birthmark.shapes import Array
from birthmark.statistics.intervals import resample
from birthmark.statistics.ranks import rank_values

BLUR = 60  # the matrix is so many standard deviations of the blur wide
TWINS = 99  # without a mark: the least p is 1 in 100
_TINY = 1e-300


@dataclass(frozen=True)
class Reading:
    """How well a mark of small weights can be read in one matrix."""

    pixel_auc: float  # weight by weight: 1 perfect, 1/2 gone
    auc: float  # pooled
    twin_high: float  # 95 % of the twins without a mark score less, pooled
    p: float  # share of twins that score as high, the matrix itself counted
    rank: int  # of the right mask among all, 1: the best
    best_wrong: float  # the highest pooled AUC of a wrong mask
    num_masks: int  # right and wrong ones

    @property
    def is_read(self) -> bool:
        """Whether the right mask scores best of all, and higher than 95 % of twins."""
        return self.rank == 1 and self.p <= 0.05


@cache
def blur_matrix(n: int) -> Array:
    """What blurs an axis of n places, by its product from the left, [n, n].

    A Gaussian up to four standard deviations, reflected at both ends.
    """
    radius = int(4 * n / BLUR + 0.5)
    away = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (away * BLUR / n) ** 2)
    places = (np.arange(n)[:, None] + away) % (2 * n)
    matrix = np.zeros((n, n))
    reflected = np.where(places < n, places, 2 * n - 1 - places)
    np.add.at(matrix, (np.arange(n)[:, None], reflected), weights / weights.sum())
    return matrix


def pool_sizes(w_IO: Array) -> Array:
    """|w| with rows and columns of equal root mean square, blurred, [I, O]."""
    size_IO = np.abs(np.asarray(w_IO, dtype=float))
    size_IO = size_IO / max(float(size_IO.max(initial=0)), _TINY)  # squares may vanish
    for axis in (1, 0):
        square = np.square(size_IO).mean(axis=axis, keepdims=True)
        size_IO = size_IO / np.sqrt(square + _TINY)
    rows, columns = map(blur_matrix, size_IO.shape)
    blurred: Array = rows @ size_IO @ columns.T
    return blurred


def pooled_auc(w_IO: Array, mask_IO: Array) -> float:
    """ROC-AUC of the pooled sizes as a detector of a mask of small weights."""
    return _auc(rank_values(-pool_sizes(w_IO)), mask_IO)


def read_mark(
    w_IO: Array, mask_IO: Array, wrong: Mapping[str, Array], *, twins: int = TWINS
) -> Reading:
    """Read a mark of small weights in a matrix, beside both nulls.

    Args:
        w_IO: The matrix now.
        mask_IO: Where the mark was set.
        wrong: Other masks that it might be taken for, by name.
        twins: How many orders of rows and columns stand for a twin without a mark.
    """
    rank_IO = rank_values(-pool_sizes(w_IO))
    right = _auc(rank_IO, mask_IO)
    others = [_auc(rank_IO, one) for one in wrong.values()]
    random = resample("twins without a mark")
    null = np.array([pooled_auc(_shuffle(w_IO, random), mask_IO) for _ in range(twins)])
    return Reading(
        pixel_auc=_auc(rank_values(-np.abs(w_IO)), mask_IO),
        auc=right,
        twin_high=float(np.quantile(null, 0.95)) if twins else np.nan,
        p=float((1 + (null >= right).sum()) / (1 + twins)),
        rank=1 + sum(one >= right for one in others),
        best_wrong=max(others, default=np.nan),
        num_masks=1 + len(others),
    )


def _shuffle(w_IO: Array, random: np.random.Generator) -> Array:
    rows, columns = (random.permutation(n) for n in w_IO.shape)
    shuffled: Array = w_IO[np.ix_(rows, columns)]
    return shuffled


def _auc(rank_IO: Array, mask_IO: Array) -> float:
    """Mann and Whitney's probability that a weight under the mask ranks higher."""
    inside = np.asarray(mask_IO, dtype=bool)
    count = int(inside.sum())
    if not 0 < count < inside.size:
        return float("nan")
    wins = rank_IO[inside].sum() - count * (count + 1) / 2
    return float(wins / count / (inside.size - count))
