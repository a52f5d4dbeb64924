"""Measurements that are one number a replica (or one a quantile): [R] or [R, Q].

They are called with finite values only in mind: `measure` puts NaN where a replica has
NaN or Inf in the tensor.
"""

import torch

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
    return pair.sums.absolute / pair.sums.count


def deviation_max(pair: Pair) -> Tensor:
    """Largest absolute deviation."""
    return pair.sums.largest


def distance(pair: Pair) -> Tensor:
    """L2 (Frobenius) norm of the deviation (Nagarajan & Kolter, arXiv 1901.01672)."""
    return pair.distance_R


def relative_distance(pair: Pair) -> Tensor:
    """Distance over the norm of the initial weights; NaN where all of these are zero.

    The square root of 2 for an independent re-draw (Luo et al., arXiv 2007.07497).
    """
    return pair.sums.relative_distance


def correlation(pair: Pair) -> Tensor:
    """Pearson correlation of initial and current weights; NaN where one is constant."""
    variance_R, current_variance_R, covariance_R = pair.covariance
    correlation_R = covariance_R / variance_R.sqrt() / current_variance_R.sqrt()
    return correlation_R.clamp(-1, 1)  # rounding can lead beyond


def cosine(pair: Pair) -> Tensor:
    """Cosine of the angle between initial and current weights; NaN for zero norms.

    Frankle, Schwab & Morcos, arXiv 2002.10365.
    """
    return pair.sums.cosine.clamp(-1, 1)


def slope(pair: Pair) -> Tensor:
    """Slope of the least-squares line of current on initial weights.

    Below 1 the weights shrank: weight decay alone gives (1 - lr * decay)^steps. NaN
    where the initial weights are constant.
    """
    return pair.sums.line[0]


def intercept(pair: Pair) -> Tensor:
    """Intercept of the least-squares line of current on initial weights."""
    return pair.sums.line[1]


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
    return (pair.sums.signed - pair.sums.kept) / pair.sums.signed


def sign_flips_by_noise(pair: Pair) -> Tensor:
    """Share of signs that noise of the same size would flip: the null of `sign_flips`.

    Each weight is given the deviation of another one of its tensor, so that sizes and
    tails are those that were measured, and no law is assumed.
    """
    return (pair.sums.signed - pair.sums.kept_by_noise) / pair.sums.signed


def correlation_by_noise(pair: Pair) -> Tensor:
    """Correlation that noise of the same size would leave: the null of `correlation`.

    1 / sqrt(1 + Var(deviation) / Var(initial)): below it, weights have moved against
    their start; above it, with it. NaN where the initial weights are constant.
    """
    ratio_R = pair.sums.relative_spread
    return 1 / torch.hypot(torch.ones_like(ratio_R), ratio_R)


def changed_share(pair: Pair) -> Tensor:
    """Share of the weights that differ from the start at all, in 0 ... 1.

    As they are stored: in bfloat16 a small update leaves most weights at their very
    bits (arXiv 2505.11711, 2511.08567). 1 less the chance of a tie for an independent
    re-draw.
    """
    return pair.sums.changed / pair.sums.count


def ulp_change(pair: Pair) -> Tensor:
    """Mean absolute deviation in units in the last place of the stored weights.

    The unit is that of the larger of both values, in the dtype of the weights now
    (arXiv 2511.08567). Below 1 most updates are smaller than what can be stored.
    """
    return pair.sums.ulps / pair.sums.count


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
