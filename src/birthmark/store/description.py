"""What a store is told of a run before its first number, whoever carries it out.

A spec is one producer; a tracker in a user's loop, or a list of checkpoints, is
another:

    what = RunDescription("tracked", "my run", {"lr": 3e-4}, replicas=(0,), start=hash)
    run = store.start_run(what)              # or store.start_run(spec)
    run.append_metrics(StepMetrics(0, {"loss": np.array([2.3])}))
    run.append_measurements(0, 0, measure(before, model, kind="scalars"))
    run.finish(manifest)
    store.records(what.run_key, by="parameter")
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from birthmark.errors import StoreError

if TYPE_CHECKING:
    from birthmark.spec import RunSpec

SPEC = "spec"
# columns of the table of runs that fields may not be called by
# of the table of runs, beside fields
RUN_COLUMNS = frozenset(
    ("run_key", "state", "epoch", "step", "wall_time_s", "written", "problem")
    + ("kind", "name", "replica", "clock", "start")
)


@dataclass(frozen=True)
class RunDescription:
    """A run as a store knows it; its key is the hash of all but `measured`.

    Fields are what runs differ in: plain values, nested as one likes. They become
    columns of the table of runs, axes and groups, as those of a spec do.
    """

    kind: str  # `spec`, `tracked`, `checkpoints`, ...
    name: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    replicas: tuple[int, ...] = (0,)  # numbers of the replicas in its records
    start: str = ""  # fingerprint of the initial configuration
    measured: Mapping[str, Any] = field(default_factory=dict)  # what, when: for readers
    spec_key: str = ""  # of a spec: its own run key

    def __post_init__(self) -> None:
        """Refuse fields that are not plain texts and numbers, or named as a column.

        Raises:
            StoreError: Says which.
        """
        if self.kind == SPEC:
            return
        for key, value in flatten(self.fields).items():
            if key in RUN_COLUMNS:
                raise StoreError(
                    f"a field cannot be named {key!r}, a column of the table of runs: "
                    "give it another name"
                )
            if not _is_plain(value):
                raise StoreError(
                    f"field {key!r} is {type(value).__name__}: give numbers, texts, "
                    "true or false, or lists of them"
                )
        said = [self.name, _as_dict(self.fields), _as_dict(self.measured)]
        try:
            json.dumps(said, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise StoreError(
                f"{error.object[error.start : error.end]!r} in the name or a field of "
                "a run is no text in UTF-8: give other texts"
            ) from error

    @property
    def run_key(self) -> str:
        """The name of the run's folder, 16 hexadecimal digits."""
        if self.spec_key:
            return self.spec_key
        content = {name: value for name, value in self.content.items()}
        del content["measured"]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def clock(self) -> Literal["epoch", "step"]:
        """In what its records are numbered; steps, unless they follow a spec."""
        return "epoch" if self.kind == SPEC else "step"

    @property
    def columns(self) -> dict[str, Any]:
        """Every field under its dotted name; lists as tuples, so that they compare."""
        return {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in flatten(self.fields).items()
        }

    @property
    def content(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return {
            "kind": self.kind,
            "name": self.name,
            "fields": json.loads(json.dumps(_as_dict(self.fields), allow_nan=False)),
            "replicas": list(self.replicas),
            "start": self.start,
            "measured": json.loads(json.dumps(_as_dict(self.measured))),
        }

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> RunDescription:
        """From what `content` gave."""
        known = dict(content)
        return cls(**{**known, "replicas": tuple(known["replicas"])})


def describe_spec(spec: RunSpec) -> RunDescription:
    """A spec as a store sees it; fields of a mark that is not there are None."""
    from birthmark.spec import MarkSpec

    fields = spec.model_dump()
    if spec.mark is None:
        fields["mark"] = dict.fromkeys(MarkSpec.model_fields)
    return RunDescription(
        SPEC, "", fields, tuple(range(spec.run.replicas)), spec_key=spec.run_key
    )


def flatten(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _as_dict(tables: Mapping[str, Any]) -> dict[str, Any]:
    return {
        str(key): _as_dict(value) if isinstance(value, Mapping) else value
        for key, value in tables.items()
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(one) for one in value)
    if isinstance(value, float):
        return value - value == 0
    return value is None or isinstance(value, str | int | bool)
