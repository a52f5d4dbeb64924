"""What theory foretells: mean fields of random networks, and curvature of the loss."""

from birthmark.theory.activations import (
    Activation,
    forward_moment,
    joint_moment,
    slope_moment,
)
from birthmark.theory.critical_steps import MOST_EVALUATIONS, find_critical_step
from birthmark.theory.curvature import (
    LossOfParameters,
    Parameters,
    find_top,
    find_top_of,
    read_batch_sharpness,
)
from birthmark.theory.mean_field import RandomLayers
