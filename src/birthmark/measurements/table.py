"""The table of measurements: a new one costs a function and a line here."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from birthmark.errors import SpecError, unknown_name
from birthmark.extensions import REGISTERED
from birthmark.measurements import distributions as d
from birthmark.measurements import marks, signals, steps, units
from birthmark.measurements import scalars as s
from birthmark.measurements import subspaces as sub
from birthmark.measurements.pair import Pair
from birthmark.shapes import Tensor


@dataclass(frozen=True)
class Measurement:
    """A function of a tensor at the start and now, and what its numbers are."""

    function: Callable[[Pair], Tensor]  # [R, ...] with `dims` behind R
    unit: Literal["weight", "1", "count"]  # weight: the unit of the weights themselves
    long_name: str
    dims: tuple[str, ...] = ()
    kind: Literal["scalar", "distribution"] = "scalar"  # how often it is recorded
    # all: biases as well; stepped: all, where it is known what the last step did;
    # probed: weights, where it is known what goes through their layers
    tensors: Literal["all", "weights", "marked", "stepped", "probed"] = "all"
    is_summed: bool = False  # made of sums, so that shards can be added up
    on_request: bool = False  # left out unless it is named

    @property
    def needs_finite(self) -> bool:
        """Whether it is NaN for a replica with NaN or Inf, which others leave out."""
        return self.unit != "count" and "bin" not in self.dims


_summed = partial(Measurement, is_summed=True)
_stepped = partial(Measurement, tensors="stepped", is_summed=True)
_attributed = partial(_stepped, on_request=True)
_probed = partial(Measurement, tensors="probed", is_summed=True)
_marked = partial(Measurement, tensors="marked")
_spectral = partial(Measurement, kind="distribution", tensors="weights")
_turned = partial(_spectral, on_request=True)
_binned = partial(Measurement, kind="distribution", dims=("bin",))
_joint = partial(Measurement, kind="distribution", dims=("bin", "current_bin"))
_banded = partial(Measurement, kind="distribution", dims=("bin", "quantile"))

_LINES = (
    _summed(s.deviation_mean, "weight", "mean deviation"),
    _summed(s.deviation_std, "weight", "standard deviation of the deviation"),
    _summed(s.deviation_skewness, "1", "skewness of the deviation"),
    _summed(s.deviation_kurtosis, "1", "excess kurtosis of the deviation"),
    Measurement(s.deviation_quantile, "weight", "deviation quantile", ("quantile",)),
    _summed(s.deviation_mean_abs, "weight", "mean absolute deviation"),
    _summed(s.deviation_max, "weight", "largest absolute deviation"),
    _summed(s.distance, "weight", "L2 norm of the deviation"),
    _summed(s.relative_distance, "1", "distance over the initial norm"),
    _summed(s.correlation, "1", "correlation of initial and current values"),
    _summed(s.cosine, "1", "cosine of initial and current values"),
    _summed(s.slope, "1", "slope of current on initial values"),
    _summed(s.intercept, "weight", "intercept of current on initial values"),
    _summed(s.r_squared, "1", "R2 of current on initial values"),
    _summed(s.sign_flips, "1", "share of signs that are not the initial one"),
    _summed(s.sign_flips_by_noise, "1", "share of signs that such noise would flip"),
    _summed(s.correlation_by_noise, "1", "correlation that such noise would leave"),
    _summed(s.changed_share, "1", "share of weights that changed as stored"),
    _summed(s.ulp_change, "1", "mean deviation in units in the last place"),
    _summed(s.path_length, "weight", "sum of the L2 norms of the recorded moves"),
    Measurement(s.cannot_move, "1", "share of inputs always zero", tensors="weights"),
    _summed(s.nonfinite_count, "count", "values that are NaN or Inf"),
    _stepped(steps.update_ratio, "1", "norm of the last step over that of the weights"),
    _stepped(steps.absorbed_share, "1", "share of updates that rounding takes whole"),
    _stepped(steps.step_by_gradient, "1", "share of the step by its gradient"),
    _stepped(steps.step_by_decay, "1", "share of the step by weight decay"),
    _stepped(steps.step_by_momentum, "1", "share of the step by earlier gradients"),
    _stepped(steps.distance_by_decay, "1", "relative distance by decay alone"),
    _attributed(steps.deviation_by_gradient, "1", "share of deviation by gradients"),
    _attributed(steps.deviation_by_decay, "1", "share of deviation by weight decay"),
    _attributed(steps.deviation_by_momentum, "1", "share of deviation by momentum"),
    _probed(signals.output_by_weights, "1", "output that moved weights add, relative"),
    _probed(
        signals.output_by_inputs, "1", "output that the layers below add, relative"
    ),
    _probed(signals.output_by_noise, "1", "output that such noise would add, relative"),
    Measurement(
        units.distinct_units,
        "1",
        "number of different units, by their incoming weights",
        tensors="weights",
    ),
    Measurement(
        units.still_rows, "1", "share of rows that hardly moved", tensors="weights"
    ),
    _marked(marks.mark_auc, "1", "ROC-AUC of the weights as detector of the mark"),
    _marked(marks.mark_pooled_auc, "1", "ROC-AUC of pooled sizes for the mark"),
    _marked(marks.mark_contrast, "1", "contrast of the mark in rms of the weights"),
    _spectral(d.spectral_distance, "weight", "spectral norm of the deviation"),
    _spectral(d.effective_rank, "1", "effective rank of the deviation"),
    _turned(sub.subspace_rotation, "1", "rotation of the largest directions"),
    _turned(sub.subspace_rotation_by_noise, "1", "rotation that such noise would give"),
    _turned(sub.spectrum_drift, "1", "change of the singular values, relative"),
    _turned(sub.spectrum_drift_by_noise, "1", "change that such noise would give"),
    _turned(sub.intruder_dimensions, "1", "new directions among the ten largest"),
    _turned(sub.intruder_dimensions_by_noise, "1", "new ones that noise would give"),
    _joint(d.joint_count, "count", "values by initial and by current value"),
    _binned(d.conditional_count, "count", "values by initial value"),
    _binned(d.conditional_mean, "weight", "mean deviation by initial value"),
    _binned(d.conditional_std, "weight", "deviation std by initial value"),
    _binned(d.conditional_skewness, "1", "deviation skewness by initial value"),
    _binned(d.conditional_kurtosis, "1", "deviation excess kurtosis by initial value"),
    _banded(d.conditional_quantile, "weight", "deviation quantile by initial value"),
    _binned(d.conditional_peak, "weight", "deviation peak by initial value"),
)

_DIMS = ("quantile", "bin", "current_bin")
MEASUREMENTS: dict[str, Measurement] = {line.function.__name__: line for line in _LINES}


def register_measurement(
    function: Callable[[Pair], Tensor],
    *,
    long_name: str,
    unit: Literal["weight", "1", "count"] = "1",
    dims: tuple[str, ...] = (),
    kind: Literal["scalar", "distribution"] = "scalar",
    tensors: Literal["all", "weights"] = "all",
    name: str = "",
) -> None:
    """Put a function of your own into the table: it is measured wherever others are.

    From then on it stands in what `measure` gives, in records, figures and reports.
    Runs that are stored already keep the measurements that they were begun with.

        def largest_share(pair: bm.Pair) -> torch.Tensor:
            "Share of the squared deviation in its largest entry."
            squares_RN = pair.deviation_RN.square()
            return squares_RN.amax(1) / squares_RN.sum(1)

        bm.register_measurement(largest_share, long_name="share of the largest entry")

    Args:
        function: Of a `Pair`: `initial_RN`, `current_RN` and `deviation_RN` are float64
            rows, one a replica; returns [R], or [R, ...] with `dims`.
        long_name: What it is, in words, as axes of figures say it.
        unit: `weight` if it scales with the weights, `count` for whole numbers.
        dims: `quantile`, `bin` or `current_bin`, in the order of the result.
        kind: `scalar` is measured at each recorded step, `distribution` where arrays
            are. What has dims of bins must be a distribution.
        tensors: `weights` leaves out vectors: the function needs a matrix.
        name: Of the variable; the function's own unless given.

    Raises:
        SpecError: The name is no identifier, or taken; a dim is unknown.
    """
    name = name or function.__name__
    if not name.isidentifier() or name.startswith("bias_"):
        raise SpecError(
            f"a measurement cannot be named {name!r}: give name= an identifier that "
            "does not begin with 'bias_'"
        )
    if name in MEASUREMENTS and MEASUREMENTS[name].function is not function:
        raise SpecError(f"there is a measurement {name!r} already: give another name=")
    for dim in dims:
        if dim not in _DIMS:
            raise unknown_name(f"dim of the measurement {name}", dim, _DIMS)
    MEASUREMENTS[name] = Measurement(function, unit, long_name, dims, kind, tensors)
    REGISTERED[f"measurement {name}"] = None
