"""The deviation by bin of the initial weight: moments, quantiles and peaks.

The values of each replica are sorted by bin and then by value, so that a bin is a
segment. Sums over segments add in a fixed order: scattered sums on a GPU do not, and
the last digits of a run done twice would differ.
"""

from dataclasses import dataclass
from functools import cached_property

import torch

from birthmark.measurements.moments import Moments
from birthmark.measurements.order import argsort_rows, quantiles
from birthmark.measurements.peaks import density_peak
from birthmark.shapes import Tensor


@dataclass(frozen=True, eq=False)
class Groups:
    """Values sorted by bin and then by value; bin M holds what is left out."""

    values_RN: Tensor  # float64
    bin_RN: Tensor  # int64 in 0 ... M
    count_RG: Tensor  # int64, G = M + 1

    @cached_property
    def moments(self) -> Moments:
        """Moments of each bin, [R, M]; NaN where it is empty."""
        mean_RG = self._mean(self.values_RN)
        centred_RN = self.values_RN - mean_RG.gather(1, self.bin_RN)
        squared_RN = centred_RN.square()
        powers = (squared_RN, squared_RN * centred_RN, squared_RN.square())
        return Moments(mean_RG[:, :-1], *(self._mean(p)[:, :-1] for p in powers))

    @cached_property
    def quantiles_RMQ(self) -> Tensor:
        """Quantiles of each bin; NaN where it is empty."""
        start_RG = self.count_RG.cumsum(1) - self.count_RG
        return quantiles(self.values_RN, start_RG[:, :-1], self.count_RG[:, :-1])

    @cached_property
    def peak_RM(self) -> Tensor:
        """The mode of each bin; NaN where it is empty."""
        return density_peak(
            self.values_RN,
            self.bin_RN,
            count_RM=self.count_RG[:, :-1],
            std_RM=self.moments.std,
            quantiles_RMQ=self.quantiles_RMQ,
        )

    def _mean(self, values_RN: Tensor) -> Tensor:
        sum_RG = torch.segment_reduce(
            values_RN.flatten(), "sum", lengths=self.count_RG.flatten()
        ).reshape(self.count_RG.shape)
        return sum_RG / self.count_RG


def group_by_bin(values_RN: Tensor, bin_RN: Tensor, num_bins: int) -> Groups:
    """Sort each replica's values by bin and then by value.

    Args:
        values_RN: float64.
        bin_RN: int64 in 0 ... M; what lies in bin M = `num_bins` is left out.
        num_bins: M.
    """
    by_value_RN = argsort_rows(values_RN)
    # int16 because NumPy sorts it by radix
    short_RN = bin_RN.to(torch.int16).gather(1, by_value_RN)
    order_RN = by_value_RN.gather(1, argsort_rows(short_RN, stable=True))
    ordered_bin_RN = bin_RN.gather(1, order_RN)
    bins_G = torch.arange(num_bins + 1, device=bin_RN.device)
    bins_RG = bins_G.expand(len(bin_RN), -1).contiguous()
    end_RG = torch.searchsorted(ordered_bin_RN, bins_RG, right=True)
    count_RG = end_RG.diff(dim=1, prepend=torch.zeros_like(end_RG[:, :1]))
    return Groups(values_RN.gather(1, order_RN), ordered_bin_RN, count_RG)
