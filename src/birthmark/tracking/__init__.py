"""What watches training: it knows neither the engine nor any spec.

`Recorder` stands under the recording of sweeps and of users' own loops alike:

    run = store.start_run(description)
    recorder = Recorder(run, initial, Listed(scalars={0, 1, 2}))
    recorder.record(StepMetrics(step, {"loss": losses_R}), current)
    run.save_checkpoint(recorder.state_dict(), {"step": step})
"""

from birthmark.tracking.recorder import Recorder
from birthmark.tracking.schedules import Listed, LogSpaced, Schedule, make_schedule

__all__ = ["Listed", "LogSpaced", "Recorder", "Schedule", "make_schedule"]
