"""Several trainings on one GPU at the same time, so that small stacks fill it."""

from collections.abc import Iterator, Sequence

from birthmark.shapes import EpochMetrics
from birthmark.spec import RunSpec
from birthmark.training.devices import find_device
from birthmark.training.engine import Training
from birthmark.training.memory import available_memory, estimate_memory
from birthmark.training.paths import find_path_name

TURN = 128  # steps queued for one training before it is the next one's turn
_MOST_AT_ONCE = 8  # CUDA leads streams to a GPU on eight ways, unless told otherwise


def train_together(
    trainings: Sequence[Training],
) -> Iterator[tuple[Training, EpochMetrics]]:
    """Train each to the last epoch of its spec, each on a stream of its own.

    On a GPU their steps overlap: while the end of one's epoch is evaluated and looked
    at, the others train on. On a CPU they take turns. What each computes does not
    depend on the others.

    Yields:
        A training at the end of an epoch of its, with its metrics; its weights may be
        looked at until the next one is asked for.
    """
    try:
        while going := [
            one for one in trainings if one.epoch < one.spec.training.epochs
        ]:
            for training in going:
                with training.device_stream.apart():
                    metrics = training.advance(TURN)
                if metrics is not None:
                    yield training, metrics
    finally:
        for training in trainings:
            training.device_stream.rejoin()


def count_together(
    specs: Sequence[RunSpec],
    *,
    limit: int | None = None,
    available: int | None = None,
) -> int:
    """How many of these runs, from the first on, may train at the same time.

    They share a device. On a GPU all must queue their steps without waiting for them
    (the path `graphed`), since otherwise nothing would overlap.

    Args:
        specs: The runs, at least one.
        limit: At most so many; unless said 8 on a GPU, and 1 on a CPU, where a run has
            work for all cores.
        available: Bytes that they may hold on the device; what `available_memory` says
            unless given.

    Returns:
        As many as fit in memory together, and at least 1.
    """
    device = find_device(specs[0].run.device)
    on_gpu = device != "cpu"
    if limit is None:
        limit = _MOST_AT_ONCE if on_gpu else 1
    if limit == 1:
        return 1
    room = available_memory(device) if available is None else available
    host_room = available_memory("cpu") if on_gpu else None
    held = host_held = count = 0
    for spec in specs[:limit]:
        if find_device(spec.run.device) != device:
            break
        if on_gpu and find_path_name(spec, device) != "graphed":
            break
        need = estimate_memory(spec)
        # the libraries are there once
        held += need.total - (need.runtime if count else 0)
        host_held += need.host - (need.host_runtime if count else 0)
        if _exceeds(held, room) or _exceeds(host_held, host_room):
            break
        count += 1
    return max(count, 1)


def _exceeds(needed: int, room: int | None) -> bool:
    return room is not None and needed > room
