"""A tensor at the start and now: what all measurements of it share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from birthmark.measurements.bins import (
    CURRENT_BINS,
    CURRENT_EDGES,
    INITIAL_BINS,
    INITIAL_EDGES,
    bin_index,
)
from birthmark.measurements.blocks import join, split_replicas
from birthmark.measurements.groups import Groups, group_by_bin
from birthmark.measurements.moments import Moments, scaled
from birthmark.measurements.order import sort_rows
from birthmark.measurements.segments import count_rows
from birthmark.measurements.spectra import Axes, principal_axes, singular_values
from birthmark.measurements.sums import Sums, sum_up
from birthmark.shapes import Mark, Tensor

if TYPE_CHECKING:
    from birthmark.measurements.signals import Signal
    from birthmark.measurements.steps import Step


@dataclass(frozen=True, eq=False)
class Pair:
    """One weight matrix, or one bias vector, of some replicas: initial and current.

    The arithmetic is float64: deviations far smaller than the weights are then exact,
    their powers too, and the conversion costs less than one sort.
    """

    initial: Tensor  # [R, I, O] weights or [R, O] biases, any floating type or strides
    current: Tensor
    find_bound: Callable[[], Tensor]  # scalar: half-width of the initial axis
    path_R: Tensor | None = None  # path so far; None: one move from the start
    still_share: float = 0.0  # of the inputs that are always zero; NaN if unknown
    mark: Mark | None = None  # None where it lies in another layer
    merged: Sums | None = None  # over all shards, where these lie in several processes
    step: Step | None = None  # what the last step of an optimizer did
    signal: Signal | None = None  # what goes through its layer

    def split(self) -> Iterator[Pair]:
        """Pairs of a few replicas each."""
        for part in split_replicas(self.initial):
            yield replace(
                self,
                initial=self.initial[part],
                current=self.current[part],
                path_R=None if self.path_R is None else self.path_R[part],
                merged=self.merged and self.merged.part(part),
            )

    @cached_property
    def bound(self) -> Tensor:
        """Half-width of the initial axis, a scalar; what has no bins never asks."""
        return self.find_bound()

    @cached_property
    def sums(self) -> Sums:
        """What most measurements are made of, by one pass over both tensors."""
        return self.merged or sum_up(self.initial, self.current)

    @cached_property
    def initial_RN(self) -> Tensor:
        """Initial values in rows, N = I * O for weights, N = O for biases."""
        return rows(self.initial)

    @cached_property
    def current_RN(self) -> Tensor:
        """Current values in rows."""
        return rows(self.current)

    @cached_property
    def marked(self) -> tuple[Tensor, Tensor]:
        """Current values under the mark, which must be there, and beside it."""
        return self.split_by_mark(self.current_RN)

    def split_by_mark(self, values_RN: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of values, one a weight: those under the mark, and those beside it."""
        assert self.mark is not None
        mask_N = self.mark.mask_IO.flatten()
        places = mask_N.nonzero()[0], (~mask_N).nonzero()[0]
        inside, outside = (
            values_RN.index_select(1, torch.tensor(at_N, device=values_RN.device))
            for at_N in places
        )
        return inside, outside

    @cached_property
    def deviation_RN(self) -> Tensor:
        """Current minus initial."""
        return self.current_RN - self.initial_RN

    @cached_property
    def deviation(self) -> Moments:
        """Moments of the deviation, [R]."""
        return self.sums.deviation

    @cached_property
    def sorted_deviation_RN(self) -> Tensor:
        """The deviation in rising order."""
        return sort_rows(self.deviation_RN)

    @cached_property
    def distance_R(self) -> Tensor:
        """L2 norm of the deviation."""
        return self.sums.distance

    @property
    def deviation_scale_R1(self) -> Tensor | None:
        """The unit in which powers of deviations are taken; None: 1."""
        return self._scale(0)

    @property
    def initial_scale_R1(self) -> Tensor | None:
        """The unit in which squares of initial values are taken; None: 1."""
        return self._scale(1)

    @property
    def current_scale_R1(self) -> Tensor | None:
        """The unit in which squares of current values are taken; None: 1."""
        return self._scale(2)

    @cached_property
    def covariance(self) -> tuple[Tensor, Tensor, Tensor]:
        """Variances of initial and current values, and their covariance, [R] each.

        In units of their scales. A variance is NaN where all values are equal, so that
        no ratio is made of rounding.
        """
        return self.sums.covariance

    @cached_property
    def failed_RN(self) -> Tensor:
        """Where the initial or the current value is NaN or Inf."""
        return join(lambda x_RN: x_RN - x_RN != 0, self.deviation_RN)

    @cached_property
    def nonfinite_R(self) -> Tensor:
        """Number of weights that are NaN or Inf, int64."""
        return self.sums.nonfinite.long()

    @cached_property
    def failed_R(self) -> Tensor:
        """Whether any weight is NaN or Inf."""
        return self.nonfinite_R > 0

    @cached_property
    def singular_values_RK(self) -> Tensor:
        """Singular values of the deviation as a matrix, falling, K = min(I, O)."""
        scale_R1 = self.deviation_scale_R1
        deviation_RN = scaled(self.deviation_RN, scale_R1)
        values_RK = singular_values(deviation_RN.reshape(self.initial.shape))
        return values_RK if scale_R1 is None else values_RK * scale_R1

    @cached_property
    def axes(self) -> tuple[Axes, Axes]:
        """Singular values and vectors at the start, and now."""
        return self._axes(self.initial_RN), self._axes(self.current_RN)

    @cached_property
    def axes_by_noise(self) -> Axes:
        """Those that the start would have with the deviations in another order."""
        draws = torch.Generator().manual_seed(0)
        order_N = torch.randperm(self.deviation_RN.shape[1], generator=draws)
        order_N = order_N.to(self.deviation_RN.device)
        return self._axes(self.initial_RN + self.deviation_RN[:, order_N])

    def _axes(self, rows_RN: Tensor) -> Axes:
        scale_R1 = self.initial_scale_R1
        return principal_axes(scaled(rows_RN, scale_R1).reshape(self.initial.shape))

    @cached_property
    def initial_bin_RN(self) -> Tensor:
        """Bin of the initial weight, int32; `INITIAL_BINS`, one too many, if failed."""
        bin_RN = bin_index(self.initial_RN, self.bound, INITIAL_EDGES)
        return bin_RN.maximum(self.failed_RN.int() * INITIAL_BINS)

    @cached_property
    def joint_count_RMM(self) -> Tensor:
        """Finite weights by bin of the initial and bin of the current value, int64."""
        current_RN = bin_index(self.current_RN, self.bound, CURRENT_EDGES)
        joint_RN = current_RN.add_(self.initial_bin_RN, alpha=CURRENT_BINS)
        counts = count_rows(joint_RN, (INITIAL_BINS + 1) * CURRENT_BINS)
        shape = (len(counts), INITIAL_BINS + 1, CURRENT_BINS)
        return counts.reshape(shape)[:, :INITIAL_BINS]

    @cached_property
    def groups(self) -> Groups:
        """The deviation by bin of the initial weight."""
        return group_by_bin(
            self.deviation_RN,
            self.initial_bin_RN,
            INITIAL_BINS,
            scale_R1=self.deviation_scale_R1,
        )

    def _scale(self, place: int) -> Tensor | None:
        scales = self.sums.scales
        return None if scales is None else scales[place].unsqueeze(1)


def rows(tensor: Tensor) -> Tensor:
    """Any tensor [R, ...] as contiguous float64 rows [R, N], without a gradient.

    On the tensor's own device, or on the host where that has no float64 (Apple's MPS).
    """
    tensor = tensor.detach()
    tensor = tensor.cpu() if tensor.device.type == "mps" else tensor
    return tensor.to(torch.float64).contiguous().reshape(len(tensor), -1)


def largest(tensor: Tensor, *, instead: float) -> Tensor:
    """The largest finite absolute value, float64 scalar; `instead` where it is zero."""
    tensor = tensor.detach()
    # the floats of 8 bits know no arithmetic
    sizes = (tensor.float() if tensor.itemsize == 1 else tensor).abs()
    found = sizes.masked_fill(~sizes.isfinite(), 0.0).max().to(torch.float64)
    return torch.where(found > 0, found, instead)
