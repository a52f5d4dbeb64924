"""What an experiment is: a folder with a question, a protocol, and what comes of it.

And which there are; nothing is read for that but their first lines.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

from birthmark.errors import unknown_name

if TYPE_CHECKING:
    import xarray as xr

    from birthmark.figures import Drawing


SCALES = ("full", "quick")
# a folder each, in the order of the docs
_FOLDERS: tuple[str, ...] = (
    "constant_start",
    "deterministic_start",
    "pretrained_start",
    "depth",
    "critical_variance",
    "combined_goals",
    "initialization_or_optimizer",
    "abandonment",
    "rescue",
    "who_is_abandoned",
    "hardest_left_out",
    "quiet_units",
    "near_the_start",
    "near_the_start_unstable",
    "protocol_details",
    "sharpness",
    "sharpness_paper",
)


@dataclass(frozen=True)
class Experiment:
    """A question about initialization or training, and the folder that answers it.

    The files of the folder are loaded when they are needed, so that facts and figures
    of shipped results work where torch is not installed:

    `protocol.py`  `PROTOCOLS`: by scale a frozen dataclass with all that is chosen
    `measure.py`   `measure(protocol, folder)`: the results, an `xarray.Dataset`
    `facts.py`     `summarize(results)`: a frozen `Facts`, what the page may state
    `figure.py`    `draw(results)`: the drawing
    """

    package: str  # such as `birthmark_experiments.constant_start`
    about: str  # the `__doc__` of the folder, which begins with the question
    data: tuple[str, ...] = ()  # data sets that the full scale needs

    @property
    def name(self) -> str:
        """Such as `constant-start`; of its page, figure and records as well."""
        return self.package.rpartition(".")[2].replace("_", "-")

    @property
    def question(self) -> str:
        """One line, as a user would ask it."""
        return self.about.partition("\n")[0]

    def protocol(self, scale: str) -> Any:
        """What is measured at a scale.

        `full` is the protocol of the shipped records; `quick` shows in seconds that
        everything works, on smaller data, and proves nothing.
        """
        if scale not in SCALES:
            raise unknown_name("scale", scale, SCALES)
        return self._file("protocol").PROTOCOLS[scale]

    def measure(self, scale: str, folder: Path) -> xr.Dataset:
        """Train and measure; what is stored in the folder goes on where it stopped."""
        protocol = self.protocol(scale)
        results: xr.Dataset = self._file("measure").measure(protocol, folder)
        return results

    def summarize(self, results: xr.Dataset) -> Facts:
        """The facts that the page states."""
        facts: Facts = self._file("facts").summarize(results)
        return facts

    def draw(self, results: xr.Dataset) -> Drawing:
        """The figure."""
        drawing: Drawing = self._file("figure").draw(results)
        return drawing

    def _file(self, name: str) -> ModuleType:
        return import_module(f"{self.package}.{name}")


@dataclass(frozen=True)
class Facts:
    """What a page may state of an experiment; each one declares its own fields.

    A template or a test may read a fact by attribute or by name; a name that is not
    declared is an error in both.
    """

    @classmethod
    def read(cls, results: xr.Dataset, **found: Any) -> Self:
        """What was found, and the facts that the results carry under the same name.

        Those are attributes, such as `protocol`, and sizes, such as `num_replicas`.
        """
        sizes = {f"num_{dim}s": size for dim, size in results.sizes.items()}
        kept = {**results.attrs, **sizes}
        for each in fields(cls):
            if each.name in kept and each.name not in found:
                kind = str(getattr(each.type, "__name__", each.type))
                convert = {"int": int, "float": float}.get(kind)
                value = kept[each.name]
                found[each.name] = convert(value) if convert else value
        return cls(**found)

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:
            raise KeyError(name)
        return getattr(self, name)


def find_experiment(name: str) -> Experiment:
    """The experiment of this name.

    Raises:
        SpecError: There is none; the message has the nearest.
    """
    if name not in experiment_names():
        raise unknown_name("experiment", name, experiment_names())
    package = f"{__package__.partition('.')[0]}.{name.replace('-', '_')}"
    experiment: Experiment = import_module(package).EXPERIMENT
    return experiment


def experiment_names() -> list[str]:
    """All names, in the order of the docs."""
    return [folder.replace("_", "-") for folder in _FOLDERS]
