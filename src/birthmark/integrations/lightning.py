"""Lightning: a callback that watches the module that is trained.

    trainer = Trainer(callbacks=[TrackerCallback(store="runs", name="my run")])

The start is taken in `on_train_start`, since sharding strategies restore a checkpoint
after `on_fit_start`; the true start goes through a resume in the callback's own state.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from birthmark.tracking import Summary, Tracker

if TYPE_CHECKING or "lightning.pytorch" in sys.modules:
    from lightning.pytorch import Callback
else:
    try:
        from pytorch_lightning import Callback
    except ModuleNotFoundError:
        from lightning.pytorch import Callback


class TrackerCallback(Callback):  # type: ignore[misc]
    """A `Tracker` on the module and the optimizers of a trainer.

    Attributes:
        tracker: Once training has started.
    """

    def __init__(self, **settings: Any) -> None:
        """Take the settings of `Tracker`, without model and optimizer."""
        self.settings = settings
        self.tracker: Tracker | None = None
        self._state: dict[str, Any] | None = None

    @property
    def state_key(self) -> str:
        """Under which Lightning finds the state again; several need names."""
        return f"birthmark {self.settings.get('name', '')}".strip()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Keep the start, or go on from the state of the checkpoint."""
        settings = {"name": type(pl_module).__name__, **self.settings}
        self.tracker = Tracker(pl_module, trainer.optimizers, **settings)
        if self._state is not None:
            self.tracker.load_state_dict(self._state)
            self._state = None
        else:
            self.tracker.begin()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the loss of the batch."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if self.tracker is not None and loss is not None:
            self.tracker.log(loss=loss.detach())

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Note the epochs that are done."""
        if self.tracker is not None:
            self.tracker.log(epoch=trainer.current_epoch + 1)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Declare the run done."""
        if self.tracker is not None:
            self._state = self.tracker.state_dict()  # checkpoints may come after
            self.tracker.finish()

    def on_exception(self, trainer: Any, pl_module: Any, exception: Any) -> None:
        """Keep what there is; the run may be gone on with."""
        if self.tracker is not None:
            self.tracker.close()

    def state_dict(self) -> dict[str, Any]:
        """What Lightning puts into its checkpoints."""
        state = self._state
        if state is None and self.tracker is not None:
            state = self.tracker.state_dict()
        return {} if state is None else {"tracker": state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What Lightning has found in a checkpoint, before training starts."""
        self._state = state_dict.get("tracker")

    def summary(self) -> Summary:
        """Where the weights stand; see `Tracker.summary`."""
        if self.tracker is None:
            raise RuntimeError("training has not started: there is nothing to sum up")
        return self.tracker.summary()
