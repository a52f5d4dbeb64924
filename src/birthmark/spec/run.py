"""The spec of a run, and the key that names the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import tomlkit
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from birthmark.errors import SpecError, unknown_name
from birthmark.spec.complaints import in_one_line
from birthmark.spec.files import (
    apply_settings,
    lines_named,
    read_toml,
    resolve_files,
)
from birthmark.spec.rules import InitializationSpec, match_pattern
from birthmark.spec.tables import (
    DataSpec,
    Epochs,
    MarkSpec,
    NetworkSpec,
    RecordSpec,
    ReplicasSpec,
    TrainingSpec,
    expand_epochs,
)

SPEC_VERSION = 1

# Fields that came later, each with the value that says what was so before: with it a
# run keeps its key. A default that changes one day changes keys all the same.
_BEFORE: dict[str, dict[str, Any]] = {
    "network": {
        "kind": "dense",
        "kernel": 3,
        "downsample": [],
        "residual": "none",
        "block": 2,
        "branch_scale": 1.0,
        "train_scales": False,
        "dropout": 0.0,
    },
    "training": {"shuffle_buffer": None},
    "run": {"order_seed": None},
}


class RunSpec(BaseModel):
    """The frozen description of a run; only `data.name` has no default."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    data: DataSpec
    network: NetworkSpec = NetworkSpec()
    initialization: InitializationSpec = InitializationSpec()
    mark: MarkSpec | None = None
    training: TrainingSpec = TrainingSpec()
    run: ReplicasSpec = ReplicasSpec()
    record: RecordSpec = RecordSpec()

    def __init__(self, **tables: Any) -> None:
        try:
            super().__init__(**tables)
        except ValidationError as error:
            raise SpecError(in_one_line(error, type(self))) from error

    @model_validator(mode="after")
    def _layers_exist(self) -> Self:
        names = self.network.layer_names
        named = [
            ("initialization.layers", pattern)
            for pattern in self.initialization.layers
            if not any(fnmatchcase(name, pattern) for name in names)
        ]
        try:
            for name in names:
                match_pattern(name, self.initialization.layers)
        except SpecError as error:
            raise SpecError(f"initialization.layers: {error}") from error
        named += [
            ("record.weights_layers", name) for name in self.record.weights_layers
        ]
        named += [("mark.layer", self.mark.layer)] if self.mark else []
        for key, layer in named:
            if layer not in names:
                raise SpecError(f"{key}: {unknown_name('layer', layer, names)}")
        for key in ("epochs", "distributions", "weights"):
            _check_epochs(key, getattr(self.record, key), self.training.epochs)
        return self

    def __hash__(self) -> int:
        return hash(self.run_key)

    def model_copy(
        self, *, update: Mapping[str, Any] | None = None, deep: bool = False
    ) -> Self:
        """A changed copy, which is another run."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("run_key", None)
        return copied

    @cached_property
    def run_key(self) -> str:
        """16 hex digits of the SHA-256 over every field and the version of the spec.

        An image or another file counts by its content, wherever it lies. A field that
        came later counts unless it says what was so before there was one.
        """
        fields = _without_later(_by_content(self.model_dump(mode="json")))
        canonical = json.dumps(
            {"spec_version": SPEC_VERSION, **fields},
            sort_keys=True,
            separators=(",", ":"),
        )
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def recorded_epochs(self) -> list[int]:
        """Epochs at which a snapshot is yielded and scalars are measured."""
        return expand_epochs(self.record.epochs, self.training.epochs)

    @property
    def distribution_epochs(self) -> list[int]:
        """Epochs at which arrays with a bin axis and spectra are measured."""
        return expand_epochs(self.record.distributions, self.training.epochs)

    @property
    def weights_epochs(self) -> list[int]:
        """Epochs at which the weights themselves are kept; none unless asked."""
        if not self.record.weights:
            return []
        return expand_epochs(self.record.weights, self.training.epochs)

    @property
    def twin(self) -> RunSpec:
        """The same spec without the mark: the same draw, unmarked."""
        return self.model_copy(update={"mark": None})

    def with_settings(self, settings: Mapping[str, Any]) -> RunSpec:
        """A changed copy: `spec.with_settings({"training.lr": 0.05})`.

        Raises:
            SpecError: A key leads nowhere, or a value does not fit.
        """
        tables = self.model_dump(exclude_unset=True)
        return RunSpec(**apply_settings(tables, settings))

    @classmethod
    def from_toml(
        cls, path: str | Path, settings: Mapping[str, Any] | None = None
    ) -> RunSpec:
        """Read a spec, with dotted settings over it.

        Raises:
            SpecError: The file cannot be read, or does not hold a spec; the message
                names the key and its line.
        """
        tables = read_toml(path)
        resolve_files(tables, path)
        with lines_named(path, settings=settings or {}):
            return cls(**apply_settings(tables, settings or {}))

    def to_toml(self) -> str:
        """The spec with every field, as `from_toml` reads it."""
        tables = self.model_dump(mode="json", exclude_none=True)
        return "\n".join(_to_toml(json.dumps({n: t})) for n, t in tables.items())


@lru_cache(maxsize=64)
def _to_toml(table: str) -> str:
    """One table of a spec, given as JSON: runs of a sweep share most of theirs."""
    return tomlkit.dumps(json.loads(table))


def _by_content(value: Any) -> Any:
    """Nested tables without the paths of files whose checksum stands beside them."""
    if not isinstance(value, dict):
        return value
    return {
        key: _by_content(inner)
        for key, inner in value.items()
        if f"{key}_sha256" not in value
    }


def _without_later(tables: dict[str, Any]) -> dict[str, Any]:
    """Tables of a spec without the later fields that say what was so before."""
    changed = dict(tables)
    for table, fields in _BEFORE.items():
        changed[table] = {
            key: value
            for key, value in tables[table].items()
            if key not in fields or value != fields[key]
        }
    return changed


def _check_epochs(key: str, epochs: Epochs, last: int) -> None:
    beyond = [epoch for epoch in epochs if isinstance(epoch, int) and epoch > last]
    if beyond:
        raise SpecError(f"record.{key}: epoch {beyond[0]} lies beyond the last, {last}")
