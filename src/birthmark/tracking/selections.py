"""Which measurements of the table a tracker takes, by name."""

# what each recorded step measures unless said: what needs no sorting
LIGHT = (
    "deviation_mean",
    "deviation_std",
    "deviation_skewness",
    "deviation_kurtosis",
    "deviation_mean_abs",
    "deviation_max",
    "distance",
    "relative_distance",
    "correlation",
    "cosine",
    "slope",
    "correlation_by_noise",
    "sign_flips",
    "sign_flips_by_noise",
    "changed_share",
    "ulp_change",
    "path_length",
    "nonfinite_count",
    "update_ratio",
    "absorbed_share",
    "step_by_gradient",
    "step_by_decay",
    "step_by_momentum",
    "distance_by_decay",
)
# at every step and not at recorded ones alone, so only where it is asked for
ATTRIBUTION = (
    "deviation_by_gradient",
    "deviation_by_decay",
    "deviation_by_momentum",
)
# three decompositions a matrix: at the steps of `LogSpaced(arrays_every=...)`
DIRECTIONS = (
    "subspace_rotation",
    "subspace_rotation_by_noise",
    "spectrum_drift",
    "spectrum_drift_by_noise",
    "intruder_dimensions",
    "intruder_dimensions_by_noise",
)
# what goes through the layers of a probe
SIGNALS = ("output_by_weights", "output_by_inputs", "output_by_noise")
