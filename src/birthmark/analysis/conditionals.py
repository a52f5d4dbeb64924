"""What became of weights, given where they started: pooled over the replicas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from birthmark.errors import StoreError
from birthmark.shapes import Array
from birthmark.statistics import Peak, find_peak, quantiles, resample, unit_of

if TYPE_CHECKING:
    from birthmark.store import AnyRecords

LEVELS = (0.02, 0.25, 0.5, 0.75, 0.98)
MOMENT_RESAMPLES = 1000
FINE_BINS = 512


@dataclass(frozen=True)
class ConditionalMoments:
    """Moments of the deviation in each bin of the initial weight, with their errors.

    The errors are bootstrap standard errors over replicas, widened by sqrt(R / (R - 1))
    since resampling R replicas scatters by that too little; NaN for a single replica.
    """

    count: Array  # [M]
    mean: Array  # [M] in units of weight, as `std`
    std: Array  # [M]
    skewness: Array  # [M]
    kurtosis: Array  # [M] excess
    mean_error: Array  # [M]
    std_error: Array  # [M]
    skewness_error: Array  # [M]
    kurtosis_error: Array  # [M]


@dataclass(frozen=True)
class Conditionals:
    """Final against initial weight of one layer at one epoch, over all replicas."""

    layer: str
    epoch: int
    num_replicas: int  # with finite weights
    bound: float  # half-width of the initial axis: edges times bound are weights
    edges: Array  # [M + 1] of the initial weight, in units of bound
    current_edges: Array  # [M' + 1] of the current weight, in units of bound
    counts: Array  # [M, M']; the outermost bins of either axis are open to infinity
    density: Array  # [M, M'] joint, per bound squared; integrates to 1
    levels: tuple[float, ...]  # [Q]
    quantiles: Array  # [Q, M] of the current weight, in units of bound
    moments: ConditionalMoments
    peak: Array  # [M] of the deviation, in units of weight, as the three below
    peak_low: Array  # [M] 95 %, Student's t on the jackknife over replicas
    peak_high: Array  # [M]
    peak_resolution: Array  # [M] the widest bins in which the peak was looked for


def pool_conditionals(
    records: AnyRecords,
    distribution_epoch: int,
    layer: str,
    *,
    weights: tuple[Array, Array] | None = None,
) -> Conditionals:
    """Pool the conditional distributions of a layer over the replicas of a run.

    Args:
        records: The records of a run.
        distribution_epoch: One of the epochs at which distributions were recorded.
        layer: Which layer.
        weights: Initial and current weights of this layer at this epoch, each
            [R, I, O]: the peak is then found on 512 bins a bin of the initial weight
            instead of those of the joint counts.

    Raises:
        StoreError: There are no distributions at this epoch.
    """
    at = np.flatnonzero(records["distribution_epoch"].to_numpy() == distribution_epoch)
    if not len(at):
        known = records["distribution_epoch"].to_numpy().tolist()
        raise StoreError(
            f"no distributions at epoch {distribution_epoch}: recorded at {known}"
        )
    here = records.isel(distribution_step=int(at[-1])).sel(layer=layer)
    joint = here["joint_count"].transpose("replica", "bin", "current_bin").to_numpy()
    whole = joint.sum(axis=(1, 2)) > 0
    joint_RMC = joint[whole].astype(np.int64)
    edges = here["bin_edge"].to_numpy().astype(float)
    current_edges = here["current_bin_edge"].to_numpy().astype(float)
    bound = float(here["bound"])
    counts = joint_RMC.sum(axis=0)
    area = np.diff(edges)[:, None] * np.diff(current_edges)
    peaks = (
        _peaks_of_counts(edges, current_edges, joint_RMC, bound)
        if weights is None
        else _peaks_of_weights(edges, *weights, bound)
    )
    return Conditionals(
        layer=layer,
        epoch=distribution_epoch,
        num_replicas=int(whole.sum()),
        bound=bound,
        edges=edges,
        current_edges=current_edges,
        counts=counts,
        density=counts / (max(counts.sum(), 1) * area),
        levels=LEVELS,
        quantiles=np.stack([_quantiles(current_edges, row) for row in counts], axis=1),
        moments=pool_conditional_moments(
            *(
                here[f"conditional_{name}"]
                .transpose("replica", "bin")
                .to_numpy()[whole]
                for name in ("count", "mean", "std", "skewness", "kurtosis")
            )
        ),
        peak=np.array([peak.value for peak in peaks]),
        peak_low=np.array([peak.low for peak in peaks]),
        peak_high=np.array([peak.high for peak in peaks]),
        peak_resolution=np.maximum(
            [peak.resolution for peak in peaks],
            bound * np.diff(edges) if weights is None else 0.0,
        ),
    )


def pool_conditional_moments(
    count_RM: Array,
    mean_RM: Array,
    std_RM: Array,
    skewness_RM: Array,
    kurtosis_RM: Array,
) -> ConditionalMoments:
    """Moments of the union of samples from the moments of each, exactly.

    The power sums of each sample about the common mean follow from its own moments by
    the binomial theorem; they add up. Skewness and kurtosis of a sample without scatter
    may be NaN: its third and fourth moment are 0.
    """
    n = np.where(np.isfinite(count_RM), count_RM, 0).astype(float)
    mean, std = (np.where(n > 0, x, 0.0) for x in (mean_RM, std_RM))
    unit = unit_of([mean, std])
    mean, std = mean / unit, std / unit
    third = np.where(std > 0, np.nan_to_num(skewness_RM), 0.0) * std**3
    fourth = np.where(std > 0, np.nan_to_num(kurtosis_RM) + 3, 0.0) * std**4
    centre_M = (n * mean).sum(axis=0) / np.maximum(n.sum(axis=0), 1)
    d = mean - centre_M
    sums = n * np.stack(
        [
            np.ones_like(d),
            d,
            std**2 + d**2,
            third + 3 * d * std**2 + d**3,
            fourth + 4 * d * third + 6 * d**2 * std**2 + d**4,
        ]
    )
    pooled = _moments(sums.sum(axis=1))
    errors = np.full((4, n.shape[1]), np.nan)
    if len(n) > 1:
        share = np.full(len(n), 1 / len(n))
        drawn_BR = resample("moments").multinomial(len(n), share, size=MOMENT_RESAMPLES)
        again_BM = _moments(np.einsum("br,krm->kbm", drawn_BR, sums))
        errors = np.sqrt(len(n) / (len(n) - 1)) * _std_of_known(again_BM)
    for one in (pooled, errors):
        one[:2] *= unit
    mean_M = centre_M * unit + pooled[0]
    return ConditionalMoments(n.sum(axis=0), mean_M, *pooled[1:], *errors)


def _moments(sums_kM: Array) -> Array:
    """Mean, std, skewness, excess kurtosis from the sums of powers 0 ... 4."""
    n = np.where(sums_kM[0] > 0, sums_kM[0], np.nan)
    mean, second, third, fourth = sums_kM[1:] / n
    variance = np.maximum(second - mean**2, 0.0)
    m3 = third - 3 * mean * second + 2 * mean**3
    m4 = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
    scatter = np.where(variance > 0, variance, np.nan)
    return np.stack([mean, np.sqrt(variance), m3 / scatter**1.5, m4 / scatter**2 - 3])


def _std_of_known(values_kBM: Array) -> Array:
    """Standard deviation over B of the values that are known; NaN for none."""
    known = np.isfinite(values_kBM)
    n = np.maximum(known.sum(axis=1), 1)
    filled = np.where(known, values_kBM, 0.0)
    mean = filled.sum(axis=1) / n
    square = np.where(known, (filled - mean[:, None]) ** 2, 0.0).sum(axis=1) / n
    return np.where(known.any(axis=1), np.sqrt(square), np.nan)


def _quantiles(edges: Array, counts: Array) -> Array:
    """Quantiles of one row of counts; NaN where one lies in an open, outermost bin."""
    if counts.sum() == 0:
        return np.full(len(LEVELS), np.nan)
    cumulative = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    found = quantiles(edges, cumulative, list(LEVELS))
    outside = (found < edges[1]) | (found > edges[-2])
    return np.where(outside, np.nan, found)


def _peaks_of_counts(
    edges: Array, current_edges: Array, joint_RMC: Array, bound: float
) -> list[Peak]:
    centres = (edges[:-1] + edges[1:]) / 2
    return [
        find_peak(
            bound * (current_edges[1:-1] - centre),
            joint_RMC[:, place, 1:-1],  # the outermost bins are open
        )
        for place, centre in enumerate(centres)
    ]


def _peaks_of_weights(
    edges: Array, initial: Array, current: Array, bound: float
) -> list[Peak]:
    initial_RN = initial.reshape(len(initial), -1).astype(float)
    deviation_RN = current.reshape(len(current), -1).astype(float) - initial_RN
    whole = np.isfinite(deviation_RN)
    bins = np.searchsorted(bound * edges[1:-1], initial_RN, side="right")
    peaks = []
    for place in range(len(edges) - 1):
        inside = whole & (bins == place)
        if not inside.any():
            peaks.append(find_peak(np.array([0.0, 1.0]), np.zeros((1, 1))))
            continue
        low, high = np.percentile(deviation_RN[inside], [0.5, 99.5])
        pad = max(high - low, 1e-12) / 100
        fine = np.linspace(low - pad, high + pad, FINE_BINS + 1)
        counts = [
            np.histogram(row[use], fine)[0]
            for row, use in zip(deviation_RN, inside, strict=True)
        ]
        peaks.append(find_peak(fine, np.stack(counts)))
    return peaks
