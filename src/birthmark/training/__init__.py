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
    "MemoryEstimate",
    "batch_order",
    "estimate_memory",
    "initial_configuration",
    "train",
]
