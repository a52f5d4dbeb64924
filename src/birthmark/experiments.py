"""The experiments: a distribution of their own, found where it is installed.

`birthmark-experiments` says under the entry point `birthmark.experiments` which package
holds them; in a checkout that nothing was installed from, the import is enough.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from birthmark.errors import MissingDependencyError
from birthmark.extensions import find_packaged

_GROUP = "birthmark.experiments"
_PACKAGE = "birthmark_experiments"


def find_package(wanted: str) -> ModuleType:
    """The package of the experiments.

    Args:
        wanted: What asks for it, the beginning of the message where it is missing.

    Raises:
        MissingDependencyError: It is not installed.
    """
    for name in dict.fromkeys([*find_packaged(_GROUP), _PACKAGE]):
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise MissingDependencyError(
        f"{wanted} needs the package of the experiments and shipped records: "
        "pip install birthmark-experiments"
    )
