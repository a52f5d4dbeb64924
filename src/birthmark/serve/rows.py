"""One run as the page lists it: what it is, how far it is, what came out."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from birthmark.analysis import (
    LEARNERS,
    REGIMES,
    Thresholds,
    classify_learners,
    find_transitions,
    label_regimes,
)
from birthmark.errors import BirthmarkError, StoreError
from birthmark.shapes import Array
from birthmark.spec import RunSpec
from birthmark.statistics import find_jumps
from birthmark.store import Leases, RunDescription, Store, describe_spec

_MARK = "mark_auc"
_OF_LAYERS = ("relative_distance", "deviation_std", "correlation", "distinct_units")
# the measurements that are shown, in the order in which they are offered
MEASURED = (
    *("relative_distance", "deviation_std", "distance", "correlation"),
    *("sign_flips", "distinct_units", _MARK),
)


@dataclass
class Row:
    """A run in the list.

    Its `outcomes` come when its records are read. What takes a search through all of
    them, `alarms` and the `verdict` (learners and regime), comes when it is judged.
    """

    run_key: str
    state: str
    stamp: int = 0  # of the folder whose content this is
    description: RunDescription | None = None
    spec: RunSpec | None = None  # of a run that follows one
    fields: dict[str, Any] = field(default_factory=dict)  # as JSON has them
    problem: str = ""
    at: float | None = None  # the epoch or step up to which there are records
    outcomes: dict[str, Any] = field(default_factory=dict)
    alarms: list[dict[str, Any]] = field(default_factory=list)
    verdict: dict[str, Any] = field(default_factory=dict)
    is_read: bool = False
    read_at: float = 0.0  # when its records were read last
    is_judged: bool = True  # there is nothing to be judged before they are read
    judged_at: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """For the page; numbers that are not finite are null there."""
        what = self.description
        return {
            "key": self.run_key,
            "state": self.state,
            "problem": self.problem,
            "kind": what.kind if what else "",
            "name": what.name if what else "",
            "clock": what.clock if what else "",
            "fields": self.fields,
            "at": self.at,
            "until": self.fields.get("training.epochs"),
            "changed": self.stamp / 1e9,
            "outcomes": {
                k: plain(v) for k, v in (self.outcomes | self.verdict).items()
            },
            "alarms": self.alarms,
        }


def group_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as they are sent: those with the same names of fields are one group.

    The `fields` of a group are those of its first run, and of each run only what
    differs from them is said: runs of a sweep have most of their fields in common.
    """
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        fields = row["fields"]
        group = groups.setdefault(tuple(fields), {"fields": fields, "runs": []})
        own = {
            name: value
            for (name, value), shared in zip(
                fields.items(), group["fields"].values(), strict=True
            )
            if value != shared or type(value) is not type(shared)
        }
        group["runs"].append(row | {"fields": own})
    return list(groups.values())


def say_state(store: Store, run_key: str, leases: Leases) -> str:
    """`done`, `running`, `stopped` (on purpose) or `interrupted` (killed)."""
    state = store.state(run_key, leases)
    return "interrupted" if state == "unfinished" else state


def begin_row(store: Store, run_key: str, stamp: int, leases: Leases) -> Row:
    """What is known of a run without its records."""
    row = Row(run_key, "damaged", stamp)
    try:
        row.spec, row.description = _describe(store, run_key)
        row.fields = {k: plain(v) for k, v in row.description.columns.items()}
        row.state = say_state(store, run_key, leases)
    except BirthmarkError as error:
        row.problem, row.is_read, row.read_at = str(error), True, time.monotonic()
    return row


def _describe(store: Store, run_key: str) -> tuple[RunSpec | None, RunDescription]:
    try:
        spec = store.spec(run_key)  # read once, where there is one
    except StoreError:
        return None, store.description(run_key)
    return spec, describe_spec(spec)


def read_outcomes(row: Row, read: Callable[[str], xr.Dataset]) -> None:
    """Fill in what the newest records say, which `read` gives for a key."""
    row.is_read, row.read_at = True, time.monotonic()
    if row.description is None:
        return
    with _noting_damage(row):
        records = read(row.run_key)
        if records.sizes.get("step", 0):
            row.at = float(records[row.description.clock][-1])
            row.outcomes = _outcomes(records)
            row.is_judged = False


def judge_outcomes(row: Row, read: Callable[[str], xr.Dataset]) -> None:
    """Fill in what all records together say: this takes ever longer."""
    row.is_judged, row.judged_at = True, time.monotonic()
    with _noting_damage(row):
        records = read(row.run_key)
        if row.spec is None:
            row.alarms = _alarms_of_any(records)
        else:
            row.alarms, row.verdict = _judge(row.spec, records)


@contextlib.contextmanager
def _noting_damage(row: Row) -> Iterator[None]:
    try:
        yield
    except BirthmarkError as error:
        row.state, row.problem = "damaged", str(error)


def _outcomes(records: xr.Dataset) -> dict[str, Any]:
    """Means over replicas of what was recorded last, by name."""
    found = {}
    for name, variable in records.variables.items():
        if variable.dims == ("step", "replica") and variable.dtype.kind == "f":
            found[str(name)] = _last_mean(variable.values)
    for name in (*_OF_LAYERS, _MARK):
        if name in records and records[name].dims == ("step", "replica", "layer"):
            values = records[name].to_numpy()
            layer = looked_at(values) if name == _MARK else max(values.shape[2] - 2, 0)
            if layer is not None:
                found[name] = _last_mean(values[:, :, layer])
    return {name: value for name, value in found.items() if value is not None}


def looked_at(values_TRL: Array) -> int | None:
    """The layer in which something was measured that most layers do not have."""
    known = np.flatnonzero(np.isfinite(values_TRL).any(axis=(0, 1)))
    return int(known[0]) if len(known) else None


def _last_mean(values_TR: Array) -> float | None:
    recorded = np.flatnonzero(np.isfinite(values_TR).any(axis=1))
    if not len(recorded):
        return None
    mean = float(np.nanmean(values_TR[recorded[-1]]))
    return float(f"{mean:.6g}")  # each digit is sent for each run


def _judge(
    spec: RunSpec, records: xr.Dataset
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Alarms (what went wrong when), and what the replicas are now."""
    lines = Thresholds()
    found = find_transitions(records, spec, lines)
    learners = classify_learners(found, lines)
    newest = records.isel(step=slice(-found.window, None))
    last_R = label_regimes(newest, spec, lines, found=found).regime[-1]
    verdict = {
        "learner": _majority(learners),
        "learners": _say_learners(learners),
        "regime": _majority([REGIMES[n] for n in last_R if n >= 0]),
    }
    alarms = []
    for replica in range(records.sizes["replica"]):
        jumps = [
            *(("jump of the loss", jump.epoch) for jump in found.loss_jumps[replica]),
            *(
                ("jump of the deviation", j.epoch)
                for j in found.deviation_jumps[replica]
            ),
            ("diverged", found.divergence_epoch[replica]),
            ("NaN or Inf", found.nonfinite_epoch[replica]),
        ]
        alarms += [_alarm(what, at, replica) for what, at in jumps if at == at]
    return sorted(alarms, key=lambda alarm: alarm["at"]), verdict


def _alarms_of_any(records: xr.Dataset) -> list[dict[str, Any]]:
    """Of a run that follows no spec: losses that jump, or are no number any more."""
    lines, alarms = Thresholds(), []
    steps = records["step"].to_numpy().astype(float)
    window = lines.window_epochs(len(steps))
    for name in records.data_vars:
        variable = records[name]
        if variable.dims != ("step", "replica") or "loss" not in str(name):
            continue
        for replica, curve in enumerate(variable.to_numpy().astype(float).T):
            known = np.flatnonzero(np.isfinite(curve))
            if len(known) and known[-1] + 1 < len(curve):
                at = steps[known[-1] + 1]
                alarms.append(_alarm(f"{name}: NaN or Inf", at, replica))
            # in records, not steps: they may lie far apart
            jumps = find_jumps(
                np.arange(len(curve)), curve, window=window, least=lines.loss_jump
            )
            alarms += [
                _alarm(f"jump of {name}", steps[int(jump.epoch)], replica)
                for jump in jumps
            ]
    return sorted(alarms, key=lambda alarm: alarm["at"])


def _alarm(what: str, at: float, replica: int) -> dict[str, Any]:
    return {"what": what, "at": float(at), "replica": replica}


def _say_learners(learners: Array) -> str:
    """`3 strong, 2 unstable`: the most frequent kind alone would hide the others."""
    counts = ((int((learners == name).sum()), name) for name in LEARNERS)
    return ", ".join(f"{count} {name}" for count, name in counts if count)


def _majority(names: Any) -> str | None:
    if not len(names):
        return None
    found, counts = np.unique(np.asarray(names), return_counts=True)
    return str(found[counts.argmax()])


def plain(value: Any) -> Any:
    """As JSON has it: None for what is not finite."""
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_text(content: Any) -> str:
    """The text of JSON, which has no number that is not finite."""
    return json.dumps(content, allow_nan=False, separators=(",", ":"))
