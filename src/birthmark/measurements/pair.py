"""A tensor at the start and now: what all measurements of it share."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from birthmark.measurements.bins import (
    CURRENT_BINS,
    CURRENT_EDGES,
    INITIAL_BINS,
    INITIAL_EDGES,
    bin_index,
)
from birthmark.measurements.groups import Groups, group_by_bin
from birthmark.measurements.moments import (
    Moments,
    dot,
    is_constant,
    moments_of_rows,
    norm,
)
from birthmark.measurements.order import sort_rows
from birthmark.shapes import Mark, Tensor


@dataclass(frozen=True, eq=False)
class Pair:
    """One weight matrix, or one bias vector, of some replicas: initial and current.

    The arithmetic is float64: deviations far smaller than the weights are then exact,
    their powers too, and the conversion costs less than one sort.
    """

    initial: Tensor  # [R, I, O] weights or [R, O] biases, any floating type or strides
    current: Tensor
    bound: Tensor  # scalar: half-width of the initial axis
    path_R: Tensor | None = None  # path so far; None: one move from the start
    still_share: float = 0.0  # of the inputs that are always zero; NaN if unknown
    mark: Mark | None = None  # None where it lies in another layer

    def split(self, num_values: int) -> Iterator["Pair"]:
        """Pairs of fewer replicas, of about so many values, at least one replica."""
        step = max(1, num_values // self.initial[0].numel())
        for start in range(0, len(self.initial), step):
            part = slice(start, start + step)
            path_R = None if self.path_R is None else self.path_R[part]
            yield replace(
                self,
                initial=self.initial[part],
                current=self.current[part],
                path_R=path_R,
            )

    @cached_property
    def initial_RN(self) -> Tensor:
        """Initial values in rows, N = I * O for weights, N = O for biases."""
        return rows(self.initial)

    @cached_property
    def current_RN(self) -> Tensor:
        """Current values in rows."""
        return rows(self.current)

    @property
    def num_weights(self) -> int:
        """N."""
        return self.initial_RN.shape[1]

    @property
    def mask_N(self) -> Tensor:
        """True under the mark, which must be there."""
        assert self.mark is not None
        mask_IO = torch.tensor(self.mark.mask_IO, device=self.current_RN.device)
        return mask_IO.flatten()

    @cached_property
    def deviation_RN(self) -> Tensor:
        """Current minus initial."""
        return self.current_RN - self.initial_RN

    @cached_property
    def deviation(self) -> Moments:
        """Moments of the deviation, [R]."""
        return moments_of_rows(self.deviation_RN)

    @cached_property
    def sorted_deviation_RN(self) -> Tensor:
        """The deviation in rising order."""
        return sort_rows(self.deviation_RN)

    @cached_property
    def distance_R(self) -> Tensor:
        """L2 norm of the deviation."""
        return norm(self.deviation_RN)

    @cached_property
    def covariance(self) -> tuple[Tensor, Tensor, Tensor]:
        """Variances of initial and current values, and their covariance, [R] each.

        A variance is NaN where all values are equal, so that no ratio is made of
        rounding.
        """
        initial_RN, variance_R = _centre(self.initial_RN)
        current_RN, current_variance_R = _centre(self.current_RN)
        return (
            variance_R,
            current_variance_R,
            dot(initial_RN, current_RN) / self.num_weights,
        )

    @cached_property
    def finite_RN(self) -> Tensor:
        """Where initial and current value are neither NaN nor Inf."""
        return self.deviation_RN.isfinite()

    @cached_property
    def nonfinite_R(self) -> Tensor:
        """Number of weights that are NaN or Inf, int64."""
        return (~self.finite_RN).sum(1)

    @cached_property
    def singular_values_RK(self) -> Tensor:
        """Singular values of the deviation as a matrix, falling, K = min(I, O)."""
        failed_R1 = self.nonfinite_R.unsqueeze(1) > 0
        # LAPACK refuses the whole stack for one NaN
        sane_RN = self.deviation_RN.masked_fill(failed_R1, 0.0)
        values_RK: Tensor = torch.linalg.svdvals(sane_RN.reshape(self.initial.shape))
        return values_RK

    @cached_property
    def initial_bin_RN(self) -> Tensor:
        """Bin of the initial weight; `INITIAL_BINS`, one too many, if not finite."""
        bin_RN = bin_index(self.initial_RN, self.bound, INITIAL_EDGES)
        return bin_RN.masked_fill(~self.finite_RN, INITIAL_BINS)

    @cached_property
    def joint_count_RMM(self) -> Tensor:
        """Finite weights by bin of the initial and bin of the current value, int64."""
        current_RN = bin_index(self.current_RN, self.bound, CURRENT_EDGES)
        row_RN = self.initial_bin_RN * CURRENT_BINS + current_RN
        size = (INITIAL_BINS + 1) * CURRENT_BINS
        offset_R1 = size * torch.arange(len(row_RN), device=row_RN.device).unsqueeze(1)
        flat = (offset_R1 + row_RN).flatten()
        counts = torch.bincount(flat, minlength=size * len(row_RN))
        shape = (len(row_RN), INITIAL_BINS + 1, CURRENT_BINS)
        return counts.reshape(shape)[:, :INITIAL_BINS]

    @cached_property
    def groups(self) -> Groups:
        """The deviation by bin of the initial weight."""
        return group_by_bin(self.deviation_RN, self.initial_bin_RN, INITIAL_BINS)


def rows(tensor: Tensor) -> Tensor:
    """Any tensor [R, ...] as contiguous float64 rows [R, N], without a gradient.

    On the tensor's own device, or on the host where that has no float64 (Apple's MPS).
    """
    tensor = tensor.detach()
    tensor = tensor.cpu() if tensor.device.type == "mps" else tensor
    return tensor.to(torch.float64).contiguous().reshape(len(tensor), -1)


def _centre(values_RN: Tensor) -> tuple[Tensor, Tensor]:
    mean_R1 = values_RN.mean(1, keepdim=True)
    centred_RN = values_RN - mean_R1
    variance_R = dot(centred_RN, centred_RN) / values_RN.shape[1]
    constant_R = is_constant(variance_R.sqrt(), mean_R1.squeeze(1))
    return centred_RN, variance_R.masked_fill(constant_R, torch.nan)
