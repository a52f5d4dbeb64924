"""The check-up: a model's initialization on the user's data, before the first step."""

from birthmark.checkup.examination import check
from birthmark.checkup.health import assert_healthy, ignoring
from birthmark.checkup.images import take_batch
from birthmark.checkup.isolation import seed_streams
from birthmark.checkup.law_detection import DetectedLaw, detect_law
from birthmark.checkup.passport import (
    Change,
    Entry,
    Passport,
    compare_passports,
    make_passport,
    read_passport,
    write_passport,
)
from birthmark.checkup.readings import (
    LEVELS,
    Attention,
    CheckUp,
    Circuits,
    Curvature,
    LayerReading,
    Outcome,
    TensorReading,
)
from birthmark.theory import Activation, forward_moment, joint_moment, slope_moment

__all__ = [
    "LEVELS",
    "Activation",
    "Attention",
    "Change",
    "CheckUp",
    "Circuits",
    "Curvature",
    "Entry",
    "LayerReading",
    "DetectedLaw",
    "Outcome",
    "Passport",
    "TensorReading",
    "assert_healthy",
    "check",
    "compare_passports",
    "detect_law",
    "forward_moment",
    "ignoring",
    "joint_moment",
    "make_passport",
    "read_passport",
    "seed_streams",
    "slope_moment",
    "take_batch",
    "write_passport",
]
