"""How far neural-network training travels from its random start.

The names below are the front door. They, what they return, and some names of rooms
are promised: all stand on one page, "Python" in the reference of the docs. The rest is
private. Names are loaded when they are first used, so that analysis, figures and
reports work where torch is not installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from birthmark.analysis import Study as Study
    from birthmark.analysis import Survey as Survey
    from birthmark.analysis import find_findings as find_findings
    from birthmark.analysis import find_transitions as find_transitions
    from birthmark.analysis import read_survey as read_survey
    from birthmark.checkup import assert_healthy as assert_healthy
    from birthmark.checkup import check as check
    from birthmark.comparison import compare as compare
    from birthmark.data import load_dataset as load_dataset
    from birthmark.errors import BirthmarkError as BirthmarkError
    from birthmark.figures import draw_figures as draw_figures
    from birthmark.figures import register_figure as register_figure
    from birthmark.interventions import interpolate as interpolate
    from birthmark.interventions import rewind as rewind
    from birthmark.interventions import transplant as transplant
    from birthmark.measurements import Pair as Pair
    from birthmark.measurements import fingerprint as fingerprint
    from birthmark.measurements import measure as measure
    from birthmark.measurements import register_measurement as register_measurement
    from birthmark.measurements import to_parameters as to_parameters
    from birthmark.network import Initializer as Initializer
    from birthmark.network import draw as draw
    from birthmark.network import initialize_ as initialize_
    from birthmark.network import register_initialization as register_initialization
    from birthmark.report import write_report as write_report
    from birthmark.shapes import Dataset as Dataset
    from birthmark.shapes import Snapshot as Snapshot
    from birthmark.shapes import Weights as Weights
    from birthmark.spec import RunSpec as RunSpec
    from birthmark.store import open_store as open_store
    from birthmark.sweeps import Grid as Grid
    from birthmark.sweeps import preset as preset
    from birthmark.sweeps import run as run
    from birthmark.sweeps import run_grid as run_grid
    from birthmark.sweeps import sweep as sweep
    from birthmark.tracking import Tracker as Tracker
    from birthmark.training import batch_order as batch_order
    from birthmark.training import estimate_memory as estimate_memory
    from birthmark.training import initial_configuration as initial_configuration
    from birthmark.training import train as train
    from birthmark.weight_files import diff as diff
    from birthmark.weight_files import follow as follow
    from birthmark.weight_files import part as part

__version__ = "0.1.0"

_ROOMS = {
    "BirthmarkError": "errors",
    "Dataset": "shapes",
    "Grid": "sweeps",
    "Initializer": "network",
    "Pair": "measurements",
    "RunSpec": "spec",
    "Snapshot": "shapes",
    "Study": "analysis",
    "Survey": "analysis",
    "Tracker": "tracking",
    "Weights": "shapes",
    "assert_healthy": "checkup",
    "batch_order": "training",
    "check": "checkup",
    "compare": "comparison",
    "diff": "weight_files",
    "draw": "network",
    "draw_figures": "figures",
    "estimate_memory": "training",
    "fingerprint": "measurements",
    "find_findings": "analysis",
    "find_transitions": "analysis",
    "follow": "weight_files",
    "initial_configuration": "training",
    "initialize_": "network",
    "load_dataset": "data",
    "measure": "measurements",
    "interpolate": "interventions",
    "open_store": "store",
    "part": "weight_files",
    "preset": "sweeps",
    "read_survey": "analysis",
    "register_figure": "figures",
    "register_initialization": "network",
    "register_measurement": "measurements",
    "rewind": "interventions",
    "run": "sweeps",
    "run_grid": "sweeps",
    "sweep": "sweeps",
    "to_parameters": "measurements",
    "train": "training",
    "transplant": "interventions",
    "write_report": "report",
}

__all__ = ["__version__", *_ROOMS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _ROOMS.values():  # bm.sweeps.Processes, whatever was used before
        return import_module(f"birthmark.{name}")
    if name not in _ROOMS:
        raise AttributeError(f"module 'birthmark' has no attribute {name!r}")
    try:
        return getattr(import_module(f"birthmark.{_ROOMS[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from birthmark.errors import MissingDependencyError

        raise MissingDependencyError(
            f"birthmark.{name} needs torch: pip install 'birthmark[train]'"
        ) from error


def __dir__() -> list[str]:
    return sorted(__all__)
