"""Principal directions of a matrix: how far they turned, and which of them are new.

At the start the singular values of a random matrix lie close together, so that small
noise turns its largest directions too: each number stands beside what the same
deviations do in another order.
"""

from birthmark.measurements.pair import Pair
from birthmark.measurements.spectra import Axes
from birthmark.shapes import Tensor

TOP = 10  # directions that count as the largest, at most a quarter of all
COSINE = 0.5  # with every direction at the start, below which one is new


def subspace_rotation(pair: Pair) -> Tensor:
    """How far the span of the ten largest directions turned, 0 ... 1.

    Mean squared sine of the principal angles between the spans then and now, over
    inputs and outputs; of fewer than 40 directions a quarter count. An independent
    re-draw gives 1 - k/2 (1/I + 1/O) (principal angles: arXiv 2511.08567).
    """
    return _rotation(*pair.axes)


def subspace_rotation_by_noise(pair: Pair) -> Tensor:
    """What noise of the same size gives: the null of `subspace_rotation`."""
    return _rotation(pair.axes[0], pair.axes_by_noise)


def spectrum_drift(pair: Pair) -> Tensor:
    """Norm of the change of all singular values over the norm of those at the start.

    Never more than `relative_distance` (Hoffman & Wielandt), and as much where no
    direction turned (normalized spectral shift: arXiv 2511.08567).
    """
    return _drift(*pair.axes)


def spectrum_drift_by_noise(pair: Pair) -> Tensor:
    """What noise of the same size gives: the null of `spectrum_drift`."""
    return _drift(pair.axes[0], pair.axes_by_noise)


def intruder_dimensions(pair: Pair) -> Tensor:
    """How many of the ten largest output directions are like none at the start.

    Their cosine with each of those is below 1/2 (arXiv 2410.21228). An independent
    re-draw of a large matrix gives all of them, training by small steps none.
    """
    return _intruders(*pair.axes)


def intruder_dimensions_by_noise(pair: Pair) -> Tensor:
    """What noise of the same size gives: the null of `intruder_dimensions`."""
    return _intruders(pair.axes[0], pair.axes_by_noise)


def _rotation(before: Axes, after: Axes) -> Tensor:
    k = max(1, min(TOP, before.values_RK.shape[1] // 4))
    kept = [
        (x[:, :, :k].mT @ y[:, :, :k]).square().sum((1, 2)) / k
        for x, y in (
            (before.inputs_RIK, after.inputs_RIK),
            (before.outputs_ROK, after.outputs_ROK),
        )
    ]
    turned_R: Tensor = 1 - (kept[0] + kept[1]) / 2
    return turned_R.clamp(0, 1)  # rounding can lead beyond


def _drift(before: Axes, after: Axes) -> Tensor:
    moved_R = (after.values_RK - before.values_RK).norm(dim=1)
    norm_R = before.values_RK.norm(dim=1)
    drift_R: Tensor = moved_R / norm_R.masked_fill(norm_R == 0, float("nan"))
    return drift_R


def _intruders(before: Axes, after: Axes) -> Tensor:
    cosines_RKT = (before.outputs_ROK.mT @ after.outputs_ROK[:, :, :TOP]).abs()
    found_R: Tensor = (cosines_RKT.amax(1) < COSINE).sum(1).double()
    return found_R
