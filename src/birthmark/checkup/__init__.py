"""The check-up: a model's initialization on the user's data, before the first step."""

from birthmark.checkup.examination import check
from birthmark.checkup.images import take_batch
from birthmark.checkup.origins import Origin, find_origin
from birthmark.checkup.readings import (
    LEVELS,
    CheckUp,
    Curvature,
    LayerReading,
    Outcome,
    TensorReading,
)
from birthmark.theory import Activation, forward_moment, joint_moment, slope_moment

__all__ = [
    "LEVELS",
    "Activation",
    "CheckUp",
    "Curvature",
    "LayerReading",
    "Origin",
    "Outcome",
    "TensorReading",
    "check",
    "find_origin",
    "forward_moment",
    "joint_moment",
    "slope_moment",
    "take_batch",
]
