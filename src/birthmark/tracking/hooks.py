"""Where a tracker hangs: on the steps of optimizers, and on the end of the process."""

from __future__ import annotations

import atexit
import logging
import weakref
from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from birthmark.errors import BirthmarkError

_log = logging.getLogger("birthmark")


class Hooks:
    """Calls before and after the steps of optimizers, until they are removed."""

    def __init__(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        before: Callable[[], None],
        after: Callable[[], None],
    ) -> None:
        """Hang on the first one's beginning and the last one's end; on none without."""
        self._handles = [
            hook
            for first, last in zip(optimizers[:1], optimizers[-1:], strict=True)
            for hook in (
                first.register_step_pre_hook(lambda *_: before()),
                last.register_step_post_hook(lambda *_: after()),
            )
        ]

    def __bool__(self) -> bool:
        """Whether anything calls."""
        return bool(self._handles)

    def remove(self) -> None:
        """Let go."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


class _Closes(Protocol):
    def close(self) -> None:
        """Write what there is."""


def close_at_exit(given: _Closes) -> None:
    """Close it at the end of the process, where it lives that long.

    What cannot be written then is logged in one line: there is no caller any more.
    """
    reference = weakref.ref(given)

    def leave() -> None:
        alive = reference()
        if alive is None:
            return
        try:
            alive.close()
        except BirthmarkError as error:
            _log.error("what was recorded last is not written: %s", error)

    atexit.register(leave)
    weakref.finalize(given, atexit.unregister, leave)
