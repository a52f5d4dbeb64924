"""What theory foretells: mean fields of random networks, and curvature of the loss."""

from birthmark.theory.activations import (
    Activation,
    forward_moment,
    joint_moment,
    slope_moment,
)
from birthmark.theory.curvature import (
    MOST_EVALUATIONS,
    LossOfParameters,
    Parameters,
    find_critical_step,
    find_top,
    find_top_of,
    read_batch_sharpness,
)
from birthmark.theory.mean_field import RandomLayers
