"""Measurements that are one number a replica (or one a quantile): [R] or [R, Q].

They are called with finite values only in mind: `measure` puts NaN where a replica has
NaN or Inf in the tensor.
"""

import torch

from birthmark.measurements.blocks import add_up
from birthmark.measurements.moments import dot, norm, scaled, scaled_back
from birthmark.measurements.order import quantiles
from birthmark.measurements.pair import Pair
from birthmark.shapes import Tensor


def deviation_mean(pair: Pair) -> Tensor:
    """Mean of the deviation."""
    return pair.deviation.mean


def deviation_std(pair: Pair) -> Tensor:
    """Standard deviation, of the population, of the deviation."""
    return pair.deviation.std


def deviation_skewness(pair: Pair) -> Tensor:
    """Skewness of the deviation, m3 / m2^(3/2); NaN where it is constant."""
    return pair.deviation.skewness


def deviation_kurtosis(pair: Pair) -> Tensor:
    """Excess kurtosis of the deviation, m4 / m2^2 - 3; NaN where it is constant."""
    return pair.deviation.kurtosis


def deviation_quantile(pair: Pair) -> Tensor:
    """Quantiles of the deviation, linear between order statistics, [R, Q]."""
    values_RN = pair.sorted_deviation_RN
    count_R1 = torch.full_like(values_RN[:, :1], values_RN.shape[1], dtype=torch.long)
    return quantiles(values_RN, torch.zeros_like(count_R1), count_R1).squeeze(1)


def deviation_mean_abs(pair: Pair) -> Tensor:
    """Mean of the absolute deviation."""
    return norm(pair.deviation_RN, 1) / pair.num_weights


def deviation_max(pair: Pair) -> Tensor:
    """Largest absolute deviation."""
    return norm(pair.deviation_RN, torch.inf)


def distance(pair: Pair) -> Tensor:
    """L2 (Frobenius) norm of the deviation (Nagarajan & Kolter, arXiv 1901.01672)."""
    return pair.distance_R


def relative_distance(pair: Pair) -> Tensor:
    """Distance over the norm of the initial weights; NaN where all of these are zero.

    The square root of 2 for an independent re-draw (Luo et al., arXiv 2007.07497).
    """
    norm_R = norm(pair.initial_RN, scale_R1=pair.initial_scale_R1)
    return pair.distance_R / norm_R.masked_fill(norm_R == 0, torch.nan)


def correlation(pair: Pair) -> Tensor:
    """Pearson correlation of initial and current weights; NaN where one is constant."""
    variance_R, current_variance_R, covariance_R = pair.covariance
    correlation_R = covariance_R / variance_R.sqrt() / current_variance_R.sqrt()
    return correlation_R.clamp(-1, 1)  # rounding can lead beyond


def cosine(pair: Pair) -> Tensor:
    """Cosine of the angle between initial and current weights; NaN for zero norms.

    Frankle, Schwab & Morcos, arXiv 2002.10365.
    """
    initial_RN = scaled(pair.initial_RN, pair.initial_scale_R1)
    current_RN = scaled(pair.current_RN, pair.current_scale_R1)
    product_R = add_up(dot, initial_RN, current_RN)
    cosine_R = product_R / norm(initial_RN) / norm(current_RN)
    return cosine_R.clamp(-1, 1)


def slope(pair: Pair) -> Tensor:
    """Slope of the least-squares line of current on initial weights.

    Below 1 the weights shrank: weight decay alone gives (1 - lr * decay)^steps. NaN
    where the initial weights are constant.
    """
    variance_R, _, covariance_R = pair.covariance
    slope_R = scaled_back(covariance_R / variance_R, pair.current_scale_R1)
    initial_scale_R1 = pair.initial_scale_R1
    return (
        slope_R if initial_scale_R1 is None else slope_R / initial_scale_R1.squeeze(1)
    )


def intercept(pair: Pair) -> Tensor:
    """Intercept of the least-squares line of current on initial weights."""
    initial_R, current_R = pair.means
    return current_R - slope(pair) * initial_R


def r_squared(pair: Pair) -> Tensor:
    """Share of the current weights' variance that the least-squares line explains."""
    return correlation(pair).square()


def sign_flips(pair: Pair) -> Tensor:
    """Share of weights whose sign is not the initial one, in 0 ... 1.

    Weights that start at zero have no sign to lose and are left out of the share (NaN
    where all do); one that is zero now has lost its sign. 1/2 for an independent
    re-draw; std / (a sqrt(2 pi)) for small noise on the uniform law of bound a (Zhou et
    al., arXiv 1905.01067, on signs).
    """

    def count(initial_RN: Tensor, current_RN: Tensor) -> Tensor:
        sign_RN = initial_RN.sign()
        kept_R = (sign_RN * current_RN > 0).count_nonzero(1)
        signed_R = dot(sign_RN, sign_RN)
        return torch.stack((signed_R - kept_R, signed_R))

    sums_2R = add_up(count, pair.initial_RN, pair.current_RN)
    return sums_2R[0] / sums_2R[1]


def path_length(pair: Pair) -> Tensor:
    """Sum of the norms of the recorded moves; never less than the distance."""
    return pair.distance_R if pair.path_R is None else pair.path_R


def cannot_move(pair: Pair) -> Tensor:
    """Share of weights whose input is zero in every training example, in 0 ... 1.

    Their gradient is exactly zero: only weight decay can move them. NaN where the
    inputs are not known, 0 beyond the first layer.
    """
    return torch.full_like(pair.distance_R, pair.still_share)


def nonfinite_count(pair: Pair) -> Tensor:
    """Number of weights that are NaN or Inf."""
    return pair.nonfinite_R
