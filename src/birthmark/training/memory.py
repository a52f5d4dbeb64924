"""How much memory a run will need, from its spec alone, and whether it is there.

The numbers are those of a run with all its records and checkpoints. They hold to about
a tenth: libraries, threads and the allocator have their own ways.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from birthmark.data import DatasetFacts, describe_dataset
from birthmark.errors import HardwareError
from birthmark.shapes import Dataset
from birthmark.spec import DataSpec, RunSpec
from birthmark.training.devices import find_device
from birthmark.training.paths import count_bytes, find_path_name
from birthmark.training.sizes import StackSizes
from birthmark.training.stepwise import EVALUATION_BATCH

_RUNTIME = 418e6  # Python with torch, NumPy, pandas, and their libraries
_UNUSED_CUDA = 287e6  # of a torch that was built for CUDA, on a CPU
_RUNTIME_OF_GPU = 1200e6  # and the libraries of CUDA, in main memory
_CONTEXT_OF_GPU = 600e6  # and in that of the GPU, with the workspace of its products
_PACKED = 0.15  # files of a data set, packed, beside what is unpacked of them
_MEASURED_COPIES = {"cpu": 28, "cuda": 18}  # float64, of what is measured at a time
_MEASURED_VALUES = {"cpu": 2**18, "cuda": 2**24}  # at least so many, if there are
_RECORD = 8 * 41 * 161  # bytes of the joint counts of a tensor, which are most of it
_RECORD_COPIES = 5  # while they are gathered
_MEASURED_AT_ONCE = 2**21  # by all threads of a CPU
_JOINT, _BY_BIN = 41 * 161, 8 * 41 * 10  # numbers of them; bytes of what stands by bin
_WIDE = 20 * 2**15  # weights of a matrix whose counts do not fit in two bytes
_GIVEN_BACK = 2**25  # bytes from which an array has pages of its own, glibc's highest
MOST_WAITING = 2**27  # bytes of it: of what a store lets wait
WRITTEN_EVERY = 60  # seconds, by a sweep
_QUICK = 1e11  # operations a second of a machine on which much waits


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of memory that a run needs, by what they are for.

    On a GPU, `host` is what is needed beside it: there lie the data once more, and the
    arrays of a checkpoint while it is written.
    """

    device: str
    runtime: int  # the interpreter and libraries
    loading: int  # the data set while it is read
    dataset: int  # pixels and labels, once, whatever the number of replicas
    weights: int  # initial, current, and at the last record (for the path length)
    optimizer: int  # its state
    steps: int  # order of the examples, batch, activations, gradients
    records: int  # what was measured and is not yet written
    evaluation: int  # beyond that, while a data set is evaluated
    measurement: int  # ... while an epoch is measured
    checkpoint: int  # ... while a checkpoint is written
    writing: int  # beyond all that, while records are
    host_runtime: int = 0  # on a GPU: of the interpreter and libraries

    @property
    def total(self) -> int:
        """The peak, on the device that trains."""
        lasting = self.dataset + self.weights + self.optimizer + self.steps
        passing = max(self.evaluation, self.measurement)
        if self.device != "cpu":
            return self.runtime + lasting + passing
        # the allocator keeps what measuring frees, if small: records stand beside it
        lasting += self.records + self.writing
        passing = max(passing, self.checkpoint)
        return self.runtime + max(self.loading, lasting + passing)

    @property
    def host(self) -> int:
        """The peak in main memory; on a CPU that is all there is."""
        if self.device == "cpu":
            return self.total
        lasting = self.dataset + self.records + self.writing
        return self.host_runtime + max(self.loading, lasting + self.checkpoint)

    def __str__(self) -> str:
        """`about 0.8 GB of memory`."""
        if self.device == "cpu":
            return f"about {_gigabytes(self.total)} of memory"
        return (
            f"about {_gigabytes(self.total)} of memory on the GPU, "
            f"{_gigabytes(self.host)} beside it"
        )


def estimate_memory(
    spec: RunSpec, *, dataset: Dataset | None = None, num_parts: int = 1
) -> MemoryEstimate:
    """What a run will need at its peak; the data are not read.

    Args:
        spec: The run.
        dataset: Data to use instead of those that `spec.data` names.
        num_parts: Into how many parts the stack is split for steps and evaluations.

    Raises:
        SpecError: The data set is not to be had as asked for.
        HardwareError: The device is not there.
    """
    device = find_device(spec.run.device)
    on_gpu = device != "cpu"
    data = _Data.named(spec.data) if dataset is None else _Data.given(dataset)
    sizes = StackSizes(spec, data.example_shape, data.num_classes, device)
    rows = -(-spec.run.replicas // num_parts)
    count = min(EVALUATION_BATCH, max(data.num_train, data.num_test))
    path = count_bytes(find_path_name(spec, device), sizes, rows, count)
    order = 8 * data.num_train * (spec.run.replicas if sizes.has_own_orders else 1)
    order *= 2  # that of the next epoch is drawn ahead
    waiting = _count_waiting(sizes, data.num_train)
    state = {"adam": 2}.get(spec.training.optimizer, int(spec.training.momentum > 0))
    return MemoryEstimate(
        device=device,
        runtime=int(_CONTEXT_OF_GPU if on_gpu else _find_runtime()),
        loading=data.loading,
        dataset=data.size,
        weights=2 * sizes.weights + path.weights,
        optimizer=state * sizes.weights,
        steps=order + path.step,
        records=waiting,
        evaluation=path.evaluation,
        measurement=_count_measurement(sizes),
        checkpoint=((2 if on_gpu else 1) + state) * sizes.weights,
        writing=_count_writing(sizes, waiting),
        host_runtime=int(_RUNTIME + _RUNTIME_OF_GPU) if on_gpu else 0,
    )


def _find_runtime() -> float:
    return _RUNTIME + (_UNUSED_CUDA if torch.version.cuda else 0)


def _count_writing(sizes: StackSizes, waiting: int) -> int:
    """While records are written: a copy, in the place of what measuring gave back."""
    record = _count_record(sizes)
    given_back = _RECORD_COPIES * record if record >= _GIVEN_BACK else 0
    return max(0, waiting - given_back)


def _count_record(sizes: StackSizes) -> int:
    """Bytes of what is measured at an epoch: weights and biases of each layer."""
    return sizes.num_replicas * 2 * len(sizes.layers) * _RECORD


def _count_waiting(sizes: StackSizes, num_examples: int) -> int:
    """What is recorded between two checkpoints: most at the beginning."""
    operations = 6 * num_examples * sizes.num_replicas * sizes.num_weights
    last = WRITTEN_EVERY * _QUICK / operations
    count = sum(epoch <= last for epoch in sizes.spec.distribution_epochs)
    tensors = sizes.num_replicas * 2 * len(sizes.layers)
    of_tensor = _JOINT * (2 if sizes.largest <= _WIDE else 4) + _BY_BIN
    return min(MOST_WAITING, max(1, count) * tensors * of_tensor)


def _count_measurement(sizes: StackSizes) -> int:
    """While an epoch is measured, a few replicas at a time."""
    kind = sizes.device.partition(":")[0]
    replicas, largest = sizes.num_replicas, sizes.largest
    block = max(largest, min(_MEASURED_VALUES[kind], replicas * largest))
    if kind == "cpu":
        blocks = min(torch.get_num_threads(), -(-replicas * largest // block))
        block *= max(1, min(blocks, _MEASURED_AT_ONCE // largest))
    return _MEASURED_COPIES[kind] * 8 * block + _RECORD_COPIES * _count_record(sizes)


@dataclass(frozen=True)
class _Data:
    num_train: int
    num_test: int
    example_shape: tuple[int, ...]  # channels, height, width
    num_classes: int
    loading: int  # bytes at the peak while it is read

    @classmethod
    def named(cls, spec: DataSpec) -> _Data:
        facts, whole = describe_dataset(spec), describe_dataset(spec.name)
        read = (1 + _PACKED) * _size(whole)
        if spec.preprocessing == "inverted" or facts != whole:
            read += _size(facts)  # what is changed or left is a copy
        counts, shape = (facts.num_train, facts.num_test), facts.example_shape
        return cls(*counts, shape, facts.num_classes, int(read))

    @classmethod
    def given(cls, dataset: Dataset) -> _Data:
        counts = len(dataset.y_train), len(dataset.y_test)
        return cls(*counts, dataset.example_shape, dataset.num_classes, loading=0)

    @property
    def num_inputs(self) -> int:
        """Numbers of one example."""
        return prod(self.example_shape)

    @property
    def size(self) -> int:
        """Bytes of pixels and labels."""
        return _size(self)


def _size(data: _Data | DatasetFacts) -> int:
    return (data.num_train + data.num_test) * (data.num_inputs + 8)


def choose_num_parts(
    spec: RunSpec,
    *,
    dataset: Dataset | None = None,
    num_replicas: int = 0,
    available: int | None = None,
) -> int:
    """Into how few parts a stack is to be split so that the run fits in memory.

    Args:
        spec: The run.
        dataset: Data to use instead of those that `spec.data` names.
        num_replicas: How many of its replicas are trained; all unless said.
        available: Bytes that this process may hold on the device that trains; what
            `available_memory` says unless given.

    Returns:
        1 where all fits at once. The compiled path works on one replica a core, so
        there splitting would not help.

    Raises:
        HardwareError: It does not fit, however it is split.
    """
    device = find_device(spec.run.device)
    if num_replicas:
        spec = spec.with_settings({"run.replicas": num_replicas})
    estimate = estimate_memory(spec, dataset=dataset)
    if device != "cpu":
        _refuse_above(available_memory("cpu"), estimate.host, spec, "main memory")
    room = available_memory(device) if available is None else available
    if room is None or estimate.total <= room:
        return 1
    num_parts = 1
    if find_path_name(spec, device) != "compiled":
        while estimate.total > room and num_parts < spec.run.replicas:
            num_parts = min(2 * num_parts, spec.run.replicas)
            estimate = estimate_memory(spec, dataset=dataset, num_parts=num_parts)
    _refuse_above(room, estimate.total, spec, "memory")
    return num_parts


def check_memory(spec: RunSpec) -> None:
    """Refuse a run that does not fit in memory, before any work.

    Raises:
        HardwareError: However its stack is split, it needs more than there is.
    """
    choose_num_parts(spec)


def available_memory(device: str) -> int | None:
    """Bytes that this process may hold, those included that it holds already.

    In main memory the free part of the machine's, or the limit of the control group
    where that is less (Linux). None where it cannot be known.
    """
    if device != "cpu":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) + _CONTEXT_OF_GPU)
    amounts = [
        free + held
        for free in _read_kilobytes("/proc/meminfo", "MemAvailable:")
        for held in _read_kilobytes("/proc/self/status", "VmRSS:")
    ]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            amounts.append(
                int(Path("/sys/fs/cgroup", name).read_text(encoding="utf-8"))
            )
    return min(amounts, default=None)


def _read_kilobytes(path: str, key: str) -> list[int]:
    with contextlib.suppress(OSError):
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        return [int(line.split()[1]) * 1024 for line in lines if line.startswith(key)]
    return []


def _refuse_above(room: int | None, needed: int, spec: RunSpec, kind: str) -> None:
    if room is not None and needed > room:
        raise HardwareError(
            f"this run needs about {_gigabytes(needed)} of {kind}, and there are "
            f"{_gigabytes(room)}: take fewer replicas (run.replicas is "
            f"{spec.run.replicas}) or smaller widths"
        )


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
