"""What a trainer is, and who there is."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from throughput.case import Array, Case, Layers

Metrics = tuple[Array, Array]  # mean loss and accuracy over the steps, [R] each


class Trainer(Protocol):
    """Something that trains a case from a given start; the pixels are in memory."""

    def __init__(
        self, case: Case, x_NI: Array, y_N: Array, layers: Layers, threads: int
    ) -> None: ...

    def prepare(self) -> None:
        """Get ready for an epoch; never timed."""

    def train(self, num_steps: int, order_RN: Array | None = None) -> Metrics | None:
        """Make the first steps of an epoch, and return when they are done.

        Args:
            num_steps: All of an epoch or fewer.
            order_RN: The examples in the order in which they are visited; drawn here,
                and timed with the rest, unless given.

        Returns:
            The running metrics; ours has them at the end of an epoch only.
        """


@dataclass(frozen=True)
class Entry:
    """One line of the list of trainers."""

    source: str  # "module:class" in this package
    replicas: int
    about: str  # what it does to be fast
    packages: tuple[str, ...]  # whose versions are named
    own_environment: bool = False
    environment: Mapping[str, str] | None = None  # {threads} is filled in


ENTRIES: dict[str, Entry] = {
    "birthmark": Entry(
        "ours:Birthmark",
        8,
        "`Training.advance`, independent batch orders",
        ("birthmark", "torch"),
    ),
    "torch DataLoader": Entry(
        "torch_loops:DataLoaderLoop",
        1,
        "the loop of the tutorials: DataLoader, loss.item() at each step; float32",
        ("torch",),
    ),
    "torch tuned": Entry(
        "torch_loops:TunedLoop",
        1,
        "float32 data in memory, batches by indexing, SGD(foreach=True)",
        ("torch",),
    ),
    "torch tuned, oneDNN": Entry(
        "torch_loops:OneDnnLoop",
        1,
        'the same with set_float32_matmul_precision("medium") where that stays in '
        "float32 (no AMX): products through oneDNN instead of MKL",
        ("torch",),
    ),
    "torch stack of 4": Entry(
        "torch_stacks:HandWrittenStack",
        4,
        "thirty lines of eager torch: baddbmm, gradients accumulated into the weights; "
        "oneDNN as above",
        ("torch",),
    ),
    "torch.func": Entry(
        "torch_stacks:FunctionalEnsemble",
        8,
        "vmap(grad_and_value) over stacked parameters, torch.compile of the whole step "
        "where there is a C++ compiler; oneDNN as above",
        ("torch",),
    ),
    "Keras": Entry(
        "keras_fit:KerasFit",
        1,
        "fit on TensorFlow with XLA; a tf.data pipeline that gathers batches from one "
        "float32 tensor, steps_per_execution = all steps",
        ("keras", "tensorflow-cpu"),
        own_environment=True,
        environment={"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"},
    ),
    "JAX vmap+scan": Entry(
        "jax_ensembles:VmapScan",
        10,
        "jit(vmap(scan over the steps)), weights donated; uint8 data on the device",
        ("jax", "jaxlib"),
        own_environment=True,
    ),
    "JAX split": Entry(
        "jax_ensembles:SplitOverDevices",
        10,
        "the replicas split over as many host devices as threads, on each one after "
        "another (lax.map of the scan): the fastest way found",
        ("jax", "jaxlib"),
        own_environment=True,
        environment={"XLA_FLAGS": "--xla_force_host_platform_device_count={threads}"},
    ),
}
OURS = "birthmark"
REFERENCE = "torch tuned"
PLAIN = [
    OURS,
    "torch DataLoader",
    REFERENCE,
    "torch tuned, oneDNN",
    "torch stack of 4",
]


def load_trainer(name: str) -> type[Trainer]:
    """The class behind a name; its framework is imported here."""
    module, _, attribute = ENTRIES[name].source.partition(":")
    loaded: type[Trainer] = getattr(
        importlib.import_module(f"throughput.{module}"), attribute
    )
    return loaded
