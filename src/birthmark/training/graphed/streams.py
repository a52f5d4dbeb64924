"""Where the work of one stack is queued on a GPU; on a CPU it is simply done."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Streams that nobody uses, by device. torch hands the same streams out again after 32,
# and graphs captured on one stream share the working memory of its products, so no two
# stacks that live at the same time may have the same streams.
_FREE: dict[str, list["DeviceStream"]] = {}


class DeviceStream:
    """A stream of a GPU, and a second one for what need not be waited for at once."""

    def __init__(self, device: str) -> None:
        self.main: torch.cuda.Stream | None = None
        self._side: torch.cuda.Stream | None = None
        if torch.device(device).type == "cuda":
            # where both could run, the way through the network goes first
            self.main = torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]
            self._side = torch.cuda.Stream(device, priority=0)  # type: ignore[no-untyped-call]

    @classmethod
    def taken_by(cls, owner: object, device: str) -> "DeviceStream":
        """Streams for as long as its owner lives."""
        free = _FREE.setdefault(device, [])
        found = free.pop() if free else cls(device)
        weakref.finalize(owner, free.append, found)
        return found

    @contextmanager
    def entered(self) -> Iterator[None]:
        """What is queued inside comes after what the caller has queued so far.

        And what the caller queues later comes after it. The host waits for nothing.
        """
        try:
            with self.apart():
                yield
        finally:
            self.rejoin()

    @contextmanager
    def apart(self) -> Iterator[None]:
        """What is queued inside comes after what the caller has queued so far.

        But what the caller queues later does not wait for it, until `rejoin`: all that
        looks at it belongs inside as well, or after the host has waited for it.
        """
        if self.main is None:
            yield
            return
        self.main.wait_stream(torch.cuda.current_stream(self.main.device))
        with torch.cuda.stream(self.main):
            yield

    def rejoin(self) -> None:
        """What the caller queues from now on comes after all that was queued here.

        So the memory of what is dropped is not given away while it is still in use.
        """
        if self.main is not None:
            torch.cuda.current_stream(self.main.device).wait_stream(self.main)

    @contextmanager
    def beside(self) -> Iterator[None]:
        """What is queued inside follows all so far; `join` waits for it."""
        if self.main is None or self._side is None:
            yield
            return
        self._side.wait_stream(self.main)
        with torch.cuda.stream(self._side):
            yield

    def join(self) -> None:
        """What follows comes after all that was put beside."""
        if self.main is not None and self._side is not None:
            self.main.wait_stream(self._side)
