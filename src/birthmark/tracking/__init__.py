"""What watches training: it knows neither the engine nor any spec.

`Recorder` stands under the recording of sweeps and of users' own loops alike:

    run = store.start_run(description)
    recorder = Recorder(run, initial, Listed(scalars={0, 1, 2}))
    recorder.record(StepMetrics(step, {"loss": losses_R}), current)
    run.save_checkpoint(recorder.state_dict(), {"step": step})

`Tracker` is the whole of it for a model and an optimizer. Whoever wants to be told what
it records is a `Sink`.
"""

from birthmark.tracking.probes import undisturbed
from birthmark.tracking.recorder import Recorder
from birthmark.tracking.schedules import Listed, LogSpaced, make_schedule
from birthmark.tracking.selections import ATTRIBUTION, DIRECTIONS, LIGHT
from birthmark.tracking.sinks import Sink
from birthmark.tracking.summary import Summary
from birthmark.tracking.tracker import Tracker

__all__ = [
    "ATTRIBUTION",
    "DIRECTIONS",
    "LIGHT",
    "Listed",
    "LogSpaced",
    "Sink",
    "Tracker",
]
