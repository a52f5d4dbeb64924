"""Who records where a model is trained by several processes.

Of sharded parameters (FSDP2) every process measures its part, and the first one writes
what they found together. Of copies (DDP) the first one measures, and others do nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch.distributed as dist
from torch import nn

from birthmark.errors import BirthmarkError, SpecError, StoreError
from birthmark.shapes import Parameters

Part = Literal["whole", "shards", "copy"]


class Processes:
    """What this process has of the model, and whether it speaks for all.

    Attributes:
        part: `whole` where no other has the model, `shards`, or a `copy`.
        speaks: Whether it writes to the store, the sinks and the log.
    """

    def __init__(self, model: Any, read: Callable[[], Parameters]) -> None:
        """Look at the model, where there are several processes at all."""
        self.part: Part = "whole"
        self.speaks = True
        if not (dist.is_available() and dist.is_initialized()):
            return
        if any(one.shard is not None for one in read().values()):
            self.part, self.speaks = "shards", dist.get_rank() == 0
        elif isinstance(model, nn.parallel.DistributedDataParallel):
            self.part = "copy"
            self.speaks = dist.get_rank(model.process_group) == 0

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do: another process has the same weights."""
        return self.part == "copy" and not self.speaks

    def check_busy(self) -> None:
        """Refuse to say what another process knows.

        Raises:
            SpecError: This one is idle.
        """
        if self.is_idle:
            raise SpecError(
                f"process {dist.get_rank()} records nothing, since process 0 has the "
                "same weights: ask the tracker there"
            )

    def agree(self, function: Callable[[], None]) -> None:
        """Do it in all processes that have shards, or fail in all of them.

        Raises:
            StoreError: Another process could not; its own error where it is this one.
        """
        if self.part != "shards":
            function()
            return
        failure: BirthmarkError | None = None
        try:
            function()
        except BirthmarkError as error:
            failure = error
        told: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(told, None if failure is None else str(failure))
        if failure is not None:
            raise failure
        for rank, text in enumerate(told):
            if text is not None:
                raise StoreError(f"process {rank}: {text}")
