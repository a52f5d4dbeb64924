"""Transformers: a callback for `Trainer`.

    trainer = Trainer(..., callbacks=[TrackerCallback(store="runs", name="my run")])

A checkpoint of the trainer gets a file of ours beside its own, and a resume from that
checkpoint goes on with the true start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from birthmark.tracking import Summary, Tracker

FILE = "birthmark.pt"


class TrackerCallback(TrainerCallback):  # type: ignore[misc]
    """A `Tracker` on the model and the optimizer of a trainer.

    Attributes:
        tracker: Once training has begun.
    """

    def __init__(self, **settings: Any) -> None:
        """Take the settings of `Tracker`, without model and optimizer."""
        self.settings = settings
        self.tracker: Tracker | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **facts: Any) -> None:
        """Keep the start, or go on from the checkpoint that the trainer goes on from.

        Raises:
            FileNotFoundError: The trainer resumes and its checkpoint has no start.
        """
        model, optimizer = facts["model"], facts["optimizer"]
        settings = {"name": type(model).__name__, **self.settings}
        self.tracker = Tracker(model, optimizer, **settings)
        if not state.global_step:
            self.tracker.begin()
            return
        path = _checkpoint(args, state) / FILE
        if not path.exists():
            self.tracker.close()
            raise FileNotFoundError(
                f"{path} is missing, so the start of this training is not known: "
                "resume from a checkpoint that was written with this callback"
            )
        self.tracker.load_state_dict(torch.load(path, weights_only=True))

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Any = None, **facts: Any
    ) -> None:
        """Note what the trainer logs: loss, learning rate, norm of the gradient."""
        numbers = {n: v for n, v in (logs or {}).items() if isinstance(v, int | float)}
        if self.tracker is not None and numbers:
            numbers.pop("epoch", None)  # a share of epochs: no whole number
            self.tracker.log(numbers)

    def on_save(self, args: Any, state: Any, control: Any, **facts: Any) -> None:
        """Put the tracker's state beside the trainer's."""
        if self.tracker is not None and state.is_world_process_zero:
            torch.save(self.tracker.state_dict(), _checkpoint(args, state) / FILE)

    def on_train_end(self, args: Any, state: Any, control: Any, **facts: Any) -> None:
        """Declare the run done."""
        if self.tracker is not None:
            self.tracker.finish()

    def summary(self) -> Summary:
        """Where the weights stand; see `Tracker.summary`."""
        if self.tracker is None:
            raise RuntimeError("training has not begun: there is nothing to sum up")
        return self.tracker.summary()


def _checkpoint(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
