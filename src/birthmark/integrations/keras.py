"""Keras 3 on any of its backends: a callback.

    model.fit(..., callbacks=[TrackerCallback(store="runs", name="my run")])

Weights are read only at recorded steps, through `Callback.model`: on JAX each reading
brings the weights out of the compiled loop.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from birthmark.measurements import to_parameters
from birthmark.shapes import Parameters
from birthmark.tracking import Summary, Tracker


class TrackerCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """A `Tracker` on the trainable variables of a model, by their paths.

    Attributes:
        tracker: Once training has begun.
    """

    def __init__(self, **settings: Any) -> None:
        """Take the settings of `Tracker`, without model and optimizer."""
        super().__init__()
        self.settings = settings
        self.tracker: Tracker | None = None
        self._batch = -1

    def on_train_begin(self, logs: Any = None) -> None:
        """Keep the start."""
        settings = {"name": self.model.name, **self.settings}
        self.tracker = Tracker(self._read, **settings)
        self.tracker.begin()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Count batches anew."""
        self._batch = -1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the steps of this call, which are several where Keras runs several."""
        assert self.tracker is not None
        self.tracker.num_steps += batch - self._batch - 1
        self._batch = batch
        self.tracker.step()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note losses and metrics of the epoch."""
        assert self.tracker is not None
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        self.tracker.log({"epoch": epoch + 1, **numbers})

    def on_train_end(self, logs: Any = None) -> None:
        """Declare the run done."""
        assert self.tracker is not None
        self.tracker.finish()

    def summary(self) -> Summary:
        """Where the weights stand; see `Tracker.summary`."""
        if self.tracker is None:
            raise RuntimeError("training has not begun: there is nothing to sum up")
        return self.tracker.summary()

    def _read(self) -> Parameters:
        variables = self.model.trainable_variables
        arrays = {v.path: np.array(keras.ops.convert_to_numpy(v)) for v in variables}
        return to_parameters(arrays, layout="IO")
