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
from birthmark.measurements.blocks import add_up, join, split_replicas
from birthmark.measurements.groups import Groups, group_by_bin
from birthmark.measurements.moments import (
    Moments,
    dot,
    is_constant,
    moments_of_rows,
    norm,
    scale_of,
    scaled,
    scaled_back,
)
from birthmark.measurements.order import sort_rows
from birthmark.measurements.segments import count_rows
from birthmark.measurements.spectra import singular_values
from birthmark.shapes import Array, Mark, Tensor


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

    def split(self) -> Iterator["Pair"]:
        """Pairs of a few replicas each."""
        for part in split_replicas(self.initial):
            yield replace(
                self,
                initial=self.initial[part],
                current=self.current[part],
                path_R=None if self.path_R is None else self.path_R[part],
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

    @cached_property
    def marked(self) -> tuple[Tensor, Tensor]:
        """Current values under the mark, which must be there, and beside it."""
        assert self.mark is not None
        mask_N = self.mark.mask_IO.flatten()
        return (self._take(mask_N.nonzero()[0]), self._take((~mask_N).nonzero()[0]))

    @cached_property
    def deviation_RN(self) -> Tensor:
        """Current minus initial."""
        return self.current_RN - self.initial_RN

    @cached_property
    def deviation(self) -> Moments:
        """Moments of the deviation, [R]."""
        return moments_of_rows(self.deviation_RN, scale_R1=self.deviation_scale_R1)

    @cached_property
    def sorted_deviation_RN(self) -> Tensor:
        """The deviation in rising order."""
        return sort_rows(self.deviation_RN)

    @cached_property
    def distance_R(self) -> Tensor:
        """L2 norm of the deviation."""
        return norm(self.deviation_RN, scale_R1=self.deviation_scale_R1)

    @cached_property
    def initial_scale_R1(self) -> Tensor | None:
        """The unit in which squares of initial values are taken; None: 1."""
        return self._scale_of(self.initial_RN)

    @cached_property
    def current_scale_R1(self) -> Tensor | None:
        """The unit in which squares of current values are taken; None: 1."""
        return self._scale_of(self.current_RN)

    @cached_property
    def deviation_scale_R1(self) -> Tensor | None:
        """The unit in which powers of deviations are taken; None: 1."""
        return self._scale_of(self.deviation_RN)

    @cached_property
    def means(self) -> tuple[Tensor, Tensor]:
        """Means of initial and of current values, [R] each."""
        return self.initial_RN.mean(1), self.current_RN.mean(1)

    @cached_property
    def covariance(self) -> tuple[Tensor, Tensor, Tensor]:
        """Variances of initial and current values, and their covariance, [R] each.

        In units of their scales. A variance is NaN where all values are equal, so that
        no ratio is made of rounding.
        """
        initial_R, current_R = self.means
        scales = self.initial_scale_R1, self.current_scale_R1

        def products(initial_RN: Tensor, current_RN: Tensor) -> Tensor:
            x_RN = scaled(initial_RN - initial_R.unsqueeze(1), scales[0])
            y_RN = scaled(current_RN - current_R.unsqueeze(1), scales[1])
            return torch.stack((dot(x_RN, x_RN), dot(y_RN, y_RN), dot(x_RN, y_RN)))

        sums = add_up(products, self.initial_RN, self.current_RN)
        variance_R, current_variance_R, covariance_R = sums / self.num_weights
        return (
            _unless_constant(variance_R, initial_R, scales[0]),
            _unless_constant(current_variance_R, current_R, scales[1]),
            covariance_R,
        )

    @cached_property
    def failed_RN(self) -> Tensor:
        """Where the initial or the current value is NaN or Inf."""
        return join(lambda x_RN: x_RN - x_RN != 0, self.deviation_RN)

    @cached_property
    def nonfinite_R(self) -> Tensor:
        """Number of weights that are NaN or Inf, int64."""
        on_host = self.deviation_RN.device.type == "cpu"  # a GPU would have to wait
        if on_host and bool(self.distance_R.isfinite().all()):
            return torch.zeros(len(self.deviation_RN), dtype=torch.int64)
        return self.failed_RN.count_nonzero(1)

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
        return scaled_back(values_RK, scale_R1)

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

    def _scale_of(self, values_RN: Tensor) -> Tensor | None:
        # narrower types reach no size whose powers are beyond float64
        wide = torch.float64 in (self.initial.dtype, self.current.dtype)
        return scale_of(values_RN) if wide else None

    def _take(self, index_N: Array) -> Tensor:
        current_RN = self.current_RN
        return current_RN.index_select(
            1, torch.tensor(index_N, device=current_RN.device)
        )


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


def _unless_constant(
    variance_R: Tensor, mean_R: Tensor, scale_R1: Tensor | None
) -> Tensor:
    std_R = scaled_back(variance_R.sqrt(), scale_R1)
    return variance_R.masked_fill(is_constant(std_R, mean_R), torch.nan)
