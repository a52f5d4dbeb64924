"""Losses, optimizers, schedules, and the engine that trains stacks of replicas."""

from birthmark.training.accumulators import Accumulators
from birthmark.training.devices import describe_device, find_device
from birthmark.training.engine import Training
from birthmark.training.examples import load_examples
from birthmark.training.general import GeneralPath
from birthmark.training.losses import LOSSES, find_loss
from birthmark.training.memory import (
    MemoryEstimate,
    available_memory,
    check_memory,
    choose_num_parts,
    estimate_memory,
)
from birthmark.training.orders import DrawnOrder, Order, batch_order
from birthmark.training.paths import TrainingPath, choose_path, find_path_name
from birthmark.training.products import (
    check_precision,
    choose_products,
    has_bf16_products,
)
from birthmark.training.schedules import learning_rate
from birthmark.training.start import check_spec, initial_configuration, train
from birthmark.training.step_ranges import StepRange
from birthmark.training.together import TURN, count_together, train_together

__all__ = [
    "LOSSES",
    "TURN",
    "DrawnOrder",
    "GeneralPath",
    "MemoryEstimate",
    "Order",
    "TrainingPath",
    "StepRange",
    "Accumulators",
    "Training",
    "available_memory",
    "batch_order",
    "check_memory",
    "check_precision",
    "check_spec",
    "choose_num_parts",
    "choose_path",
    "choose_products",
    "count_together",
    "estimate_memory",
    "describe_device",
    "find_device",
    "find_loss",
    "find_path_name",
    "has_bf16_products",
    "initial_configuration",
    "learning_rate",
    "load_examples",
    "train",
    "train_together",
]
