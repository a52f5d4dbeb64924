"""The deviation by bin of the initial weight: moments, quantiles and peaks.

The values of each replica are sorted by bin and then by value, so that a bin is a
segment.
"""

from dataclasses import dataclass
from functools import cached_property

from birthmark.measurements.moments import Moments, scaled
from birthmark.measurements.order import quantiles, sort_segments
from birthmark.measurements.peaks import density_peak
from birthmark.measurements.segments import (
    count_rows,
    number_segments,
    spread,
    sum_segments,
)
from birthmark.shapes import Tensor


@dataclass(frozen=True, eq=False)
class Groups:
    """Values sorted by bin and then by value; bin M holds what is left out."""

    values_RN: Tensor  # float64
    count_RG: Tensor  # int64, G = M + 1
    scale_R1: Tensor | None = None  # the unit in which powers are taken; None: 1

    @cached_property
    def group_N(self) -> Tensor:
        """Number of each value's bin among those of all replicas, int32 [R N]."""
        return number_segments(self.count_RG.flatten(), self.values_RN.numel())

    @cached_property
    def moments(self) -> Moments:
        """Moments of each bin, [R, M]; NaN where it is empty."""
        values_N = scaled(self.values_RN, self.scale_R1).flatten()
        mean_RG = self._mean(values_N)
        centred_N = values_N - spread(mean_RG, self.group_N)
        squared_N = centred_N.square()
        powers = (squared_N, squared_N * centred_N, squared_N.square())
        m2_RM, m3_RM, m4_RM = (self._mean(p)[:, :-1] for p in powers)
        unit = 1.0 if self.scale_R1 is None else self.scale_R1
        return Moments(mean_RG[:, :-1], m2_RM, m3_RM, m4_RM, unit)

    @cached_property
    def quantiles_RMQ(self) -> Tensor:
        """Quantiles of each bin; NaN where it is empty."""
        start_RG = self.count_RG.cumsum(1) - self.count_RG
        return quantiles(self.values_RN, start_RG[:, :-1], self.count_RG[:, :-1])

    @cached_property
    def peak_RM(self) -> Tensor:
        """The mode of each bin; NaN where it is empty."""
        return density_peak(
            self.values_RN.flatten(),
            self.group_N,
            count_RM=self.count_RG[:, :-1],
            std_RM=self.moments.std,
            quantiles_RMQ=self.quantiles_RMQ,
        )

    def _mean(self, values_N: Tensor) -> Tensor:
        sum_G = sum_segments(values_N, self.count_RG.flatten())
        return sum_G.reshape(self.count_RG.shape) / self.count_RG


def group_by_bin(
    values_RN: Tensor,
    bin_RN: Tensor,
    num_bins: int,
    *,
    scale_R1: Tensor | None = None,
) -> Groups:
    """Sort each replica's values by bin and then by value.

    Args:
        values_RN: float64.
        bin_RN: int32 in 0 ... M; what lies in bin M = `num_bins` is left out.
        num_bins: M.
        scale_R1: The unit in which powers of the values are taken; None: 1.
    """
    count_RG = count_rows(bin_RN, num_bins + 1)
    return Groups(sort_segments(values_RN, bin_RN, count_RG), count_RG, scale_R1)
