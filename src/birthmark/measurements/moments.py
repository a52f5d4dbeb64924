"""Moments of sums, and the rule by which a spread counts as none."""

from dataclasses import dataclass

import torch

from birthmark.shapes import Tensor

# Rounding leaves a relative spread of 1e-15 in float64 values that are all equal; the
# smallest real one in 1e7 float32 weights (one differs by its last bit) is 2e-11.
SPREAD_OF_EQUALS = 1e-13
# Between these, fourth powers of values and of what rounding leaves of them are normal
# numbers. All that comes from float32 lies there.
SAFE_EXPONENTS = (-160, 200)


@dataclass(frozen=True)
class Moments:
    """Moments of some values, each of one shape: [R], or [R, M] by bin.

    Central moments are of the population: sums over the count, no correction of bias.
    """

    centre: Tensor  # the mean
    m2: Tensor
    m3: Tensor
    m4: Tensor
    scale: Tensor | float = 1.0  # the unit of all four

    @property
    def mean(self) -> Tensor:
        """The mean, in weights."""
        return self.centre * self.scale

    @property
    def std(self) -> Tensor:
        """Standard deviation of the population."""
        return self.m2.sqrt() * self.scale

    @property
    def skewness(self) -> Tensor:
        """m3 / m2^(3/2); NaN where all values are equal."""
        return (self.m3 / self.m2**1.5).masked_fill(self.constant, torch.nan)

    @property
    def kurtosis(self) -> Tensor:
        """m4 / m2^2 - 3, zero for a Gaussian; NaN where all values are equal."""
        return (self.m4 / self.m2**2 - 3).masked_fill(self.constant, torch.nan)

    @property
    def constant(self) -> Tensor:
        """Where all values are equal."""
        return is_constant(self.m2.sqrt(), self.centre)


def is_constant(std: Tensor, mean: Tensor) -> Tensor:
    """Where all values are equal, up to rounding; True also for a single value."""
    return std <= SPREAD_OF_EQUALS * mean.abs()


def dot(a_RN: Tensor, b_RN: Tensor) -> Tensor:
    """Inner product of each replica's row with its own, [R]."""
    products_R: Tensor = torch.linalg.vecdot(a_RN, b_RN)
    return products_R


def norm(values_RN: Tensor, order: float) -> Tensor:
    """Vector norm of each replica's row, [R]."""
    norms_R: Tensor = torch.linalg.vector_norm(values_RN, order, dim=1)
    return norms_R


def scale_of(values_RN: Tensor) -> Tensor | None:
    """A power of two for each row in whose unit its powers neither vanish nor overflow.

    Division by it is exact. None where no row needs one.

    Returns:
        [R, 1], 1 for rows that are zero, not finite, or of a usual size.
    """
    largest_R = norm(values_RN, torch.inf)
    exponent_R = torch.frexp(largest_R).exponent
    low, high = SAFE_EXPONENTS
    unsafe_R = (exponent_R < low) | (exponent_R > high)
    unsafe_R &= largest_R.isfinite() & (largest_R > 0)
    if not unsafe_R.any():
        return None
    # the largest power of two that is finite is 2**1023
    exponent_R = torch.where(unsafe_R, exponent_R - 1, 0)
    return torch.ldexp(torch.ones_like(largest_R), exponent_R).unsqueeze(1)


def scaled(values_RN: Tensor, scale_R1: Tensor | None) -> Tensor:
    """The values in units of the scale."""
    return values_RN if scale_R1 is None else values_RN / scale_R1


def in_one_unit(*given_RN: Tensor) -> tuple[list[Tensor], Tensor]:
    """Rows in one unit for all, in which their products are numbers if they can be.

    For ratios of such products, which do not know of the unit. Beside the largest
    number, what is far smaller may vanish.

    Returns:
        The rows, and the unit, [R]; 0 of rows without a number that is not 0.
    """
    first_RN = given_RN[0]
    largest_R = first_RN.new_zeros(len(first_RN), dtype=torch.float64)
    for one in given_RN if first_RN.shape[1] else ():
        finite_RN = one.abs().masked_fill(~one.isfinite(), 0.0)
        largest_R = torch.maximum(largest_R, finite_RN.amax(1).double())
    scale_R1 = scale_of(largest_R[:, None])
    unit_R = torch.ones_like(largest_R) if scale_R1 is None else scale_R1.squeeze(1)
    rows = [scaled(one, scale_R1) for one in given_RN]
    return rows, unit_R.masked_fill(largest_R == 0, 0.0)
