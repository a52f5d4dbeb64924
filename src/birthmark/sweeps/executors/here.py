"""Tasks carried out in this process, one after the other."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from birthmark.sweeps.tasks import Outcome, Report, Task, attempt


class Here:
    """This process."""

    workers = 1

    def carry_out(
        self, tasks: Sequence[Task], store: Path, report: Report
    ) -> Iterator[Outcome]:
        """Carry all tasks out, and yield what becomes of each."""
        for task in tasks:
            outcome = attempt(task, store, report)
            yield outcome
            if outcome.status == "stopped":
                return
