"""The interface behind which tasks are carried out, wherever."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from birthmark.sweeps.tasks import Outcome, Report, Task

MOST_LOSSES = 3  # of one task, before it counts as failed


class Executor(Protocol):
    """Carries tasks out."""

    @property
    def workers(self) -> int:
        """How many tasks it carries out at the same time."""

    def carry_out(
        self, tasks: Sequence[Task], store: Path, report: Report
    ) -> Iterator[Outcome]:
        """Carry all tasks out, and yield what becomes of each.

        After an interrupt all that has begun is saved and `stopped`, or done if it was
        about to end; the rest is not begun, and not yielded.

        Args:
            tasks: In the order in which they should begin.
            store: Folder of the store, the same for all workers.
            report: Called now and then with where a task is.
        """
