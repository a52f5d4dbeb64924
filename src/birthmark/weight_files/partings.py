"""Two trainings side by side, tensor by tensor and step by step: where do they part?"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from birthmark.errors import WeightsError
from birthmark.shapes import Array
from birthmark.store import open_store
from birthmark.weight_files.comparing import diff
from birthmark.weight_files.trajectories import find_steps
from birthmark.wording import say_names, to_json

SCHEMA = "birthmark-parting/1"
HEADER = [
    "tensor",
    "part at step",
    "apart there",
    "apart at the end",
    "null at the end",
]
# of records: how far a tensor has moved, and what it keeps
_MEASUREMENTS = ("relative_distance", "distance", "correlation", "cosine", "sign_flips")


@dataclass(frozen=True)
class Parting:
    """How far two trainings are apart, of each tensor at each step that both have.

    Of checkpoints, `apart_TP` is the length of the difference over that of the first;
    of records, the difference of their relative distances from the start. `null_TP` is
    the same for another seed, where one was given, or for a re-draw; NaN where there is
    neither.
    """

    labels: tuple[str, str]
    steps: tuple[int, ...]
    tensors: tuple[str, ...]
    apart_TP: Array
    null_TP: Array
    differ_TP: Array  # bool: whether anything that was compared differs
    null: str  # what the null is
    same_start: bool | None = None  # by its fingerprint; None where that is not known

    @property
    def first(self) -> tuple[int, tuple[str, ...]] | None:
        """The first step at which they differ and in which tensors; None: at none."""
        found = np.flatnonzero(self.differ_TP.any(1))
        if not found.size:
            return None
        where = np.flatnonzero(self.differ_TP[found[0]])
        where = where[np.argsort(-np.nan_to_num(self.apart_TP[found[0]][where]))]
        return self.steps[found[0]], tuple(self.tensors[i] for i in where)

    @property
    def headline(self) -> str:
        """Where they part first, and by how much they are apart at the end."""
        one, other = self.labels
        if self.first is None:
            return (
                f"{one} and {other} are the same at all {len(self.steps)} steps that "
                "both have."
            )
        step, where = self.first
        place = (
            f"in {say_names(where)}" if len(where) < len(self.tensors) else "everywhere"
        )
        last, null = _medians(self.apart_TP[-1], self.null_TP[-1])
        against = f" ({self.null}: {null:.3g})" if math.isfinite(null) else ""
        start = ", although they start alike" if self.same_start and step else ""
        return (
            f"{one} and {other} part at step {step}, {place}{start}; at step "
            f"{self.steps[-1]} they are apart by {last:.3g}{against} in the median."
        )

    @property
    def legend(self) -> str:
        """What the columns of the table mean, and what the null is."""
        return (
            "apart: length of the difference over that of the first, of records the "
            f"difference of their relative distances. null: {self.null}."
        )

    def table(self) -> tuple[list[str], list[list[str]]]:
        """One line a tensor, those that part first in front."""
        rows = []
        for p, name in enumerate(self.tensors):
            found = np.flatnonzero(self.differ_TP[:, p])
            at = int(found[0]) if found.size else None
            row = [
                name,
                "never" if at is None else str(self.steps[at]),
                "" if at is None else _say(self.apart_TP[at, p]),
                _say(self.apart_TP[-1, p]),
                _say(self.null_TP[-1, p]),
            ]
            order = len(self.steps) if at is None else at
            rows.append((order, -float(np.nan_to_num(self.apart_TP[-1, p])), row))
        return HEADER, [row for _, _, row in sorted(rows)]

    def lengths(self) -> list[tuple[str, float, float]]:
        """Each tensor, how far apart it is at the end, and the null there."""
        ends = zip(self.tensors, self.apart_TP[-1], self.null_TP[-1], strict=True)
        return [(name, float(apart), float(null)) for name, apart, null in ends]

    def to_json(self) -> str:
        """All numbers; the schema is named in the first field and only grows."""
        columns = {"apart": self.apart_TP, "null": self.null_TP}
        return to_json(
            {
                "schema": SCHEMA,
                "headline": self.headline,
                "labels": self.labels,
                "null": self.null,
                "same_start": self.same_start,
                "steps": self.steps,
                "tensors": [
                    {
                        "name": name,
                        "differs": self.differ_TP[:, p].tolist(),
                        **{key: one[:, p].tolist() for key, one in columns.items()},
                    }
                    for p, name in enumerate(self.tensors)
                ],
            }
        )


def part(first: Any, second: Any, *, null: Any = None) -> Parting:
    """Lay two trainings side by side.

    Args:
        first: The folder of a stored run (`STORE/RUN_KEY`), or checkpoints of one
            training in order: a list, or the folder that they lie in.
        second: Another, of the same kind.
        null: A third, of another seed, against which distances are read.

    Raises:
        WeightsError: They have no step or no tensor in common.
    """
    if is_run(first) and is_run(second):
        return _part_records(Path(first), Path(second), null)
    return _part_checkpoints(first, second, null)


def is_run(source: Any) -> bool:
    """Whether this is the folder of a stored run."""
    path = Path(source) if isinstance(source, str | Path) else None
    return path is not None and (path / "schema.json").is_file()


def find_checkpoints(source: Any) -> list[Any]:
    """The checkpoints of a list, or those in a folder, in the order of their steps."""
    if not isinstance(source, str | Path):
        return list(source)
    folder = Path(source)
    steps = {one: _step(one) for one in folder.iterdir() if one.name[0] != "."}
    found = [one for one, step in steps.items() if step is not None]
    if len(found) < 2:
        raise WeightsError(
            f"{folder} holds no two numbered checkpoints: give a folder of them, as "
            "step_0.safetensors, step_100.safetensors, or a run of a store"
        )
    return sorted(found, key=lambda one: steps[one] or 0)


def _step(path: Path) -> int | None:
    found = re.findall(r"\d+", path.stem if path.is_file() else path.name)
    return int(found[-1]) if found else None


def _part_checkpoints(first: Any, second: Any, null: Any) -> Parting:
    sides = [_by_step(one) for one in (first, second)]
    others = None if null is None else _by_step(null)
    steps = sorted(set(sides[0]) & set(sides[1]) & set(others or sides[0]))
    if not steps:
        raise WeightsError(
            f"there is no step that both have: {sorted(sides[0])[:5]} and "
            f"{sorted(sides[1])[:5]}"
        )
    rows = []
    for step in steps:
        compared = diff(sides[0][step], sides[1][step])
        beside = None if others is None else diff(sides[0][step], others[step])
        known = {} if beside is None else {t.name: t for t in beside.tensors}
        rows.append(
            {
                t.name: (
                    t.readings["relative_distance"].value,
                    t.readings["relative_distance"].redraw
                    if beside is None
                    else known[t.name].readings["relative_distance"].value
                    if t.name in known
                    else float("nan"),
                    t.readings["changed"].value > 0,
                )
                for t in compared.tensors
                if t.kind != "buffer"
            }
        )
    names = tuple(n for n in rows[0] if all(n in row for row in rows))
    values = np.array([[row[n] for n in names] for row in rows], dtype=float)
    return Parting(
        (_label(first), _label(second)),
        tuple(steps),
        names,
        values[..., 0],
        values[..., 1],
        values[..., 2] > 0,
        "a re-draw" if null is None else "another seed",
    )


def _by_step(source: Any) -> dict[int, Any]:
    found = find_checkpoints(source)
    named = [str(one) if isinstance(one, str | Path) else "" for one in found]
    return dict(zip(find_steps(named), found, strict=True))


def _part_records(first: Path, second: Path, null: Any) -> Parting:
    a, b = (_read(path) for path in (first, second))
    a, b = xr.align(a, b, join="inner", exclude=["replica", "quantile"])
    if not a.sizes["step"] or not a.sizes["parameter"]:
        raise WeightsError(
            f"{first.name} and {second.name} have no recorded step, or no tensor, in "
            "common: track them with one schedule and one model"
        )
    names = [n for n in _MEASUREMENTS if n in a and n in b]
    gaps = [abs(a[n].mean("replica") - b[n].mean("replica")) for n in names]
    differ = np.any([np.nan_to_num(gap.values) > 0 for gap in gaps], axis=0)
    null_TP, said = _null_of_records(a, null)
    return Parting(
        (first.name[:8], second.name[:8]),
        tuple(int(step) for step in a["step"].values),
        tuple(str(name) for name in a["parameter"].values),
        gaps[0].values,
        null_TP,
        differ,
        said,
        _start(first) == _start(second) if _start(first) else None,
    )


def _null_of_records(a: xr.Dataset, null: Any) -> tuple[Array, str]:
    """The gap to another seed: a run that is given, or other replicas of the first."""
    moved = a["relative_distance"]
    if null is not None:
        other = _read(Path(null))["relative_distance"]
        other = other.mean("replica").reindex_like(moved.mean("replica"))
        return abs(moved.mean("replica") - other).values, "another seed"
    if a.sizes["replica"] > 1:
        # the mean absolute gap of two draws of one spread
        return moved.std("replica", ddof=1).values * 2 / math.sqrt(math.pi), "replicas"
    return np.full(moved.mean("replica").shape, np.nan), "no other seed was given"


def _read(path: Path) -> xr.Dataset:
    return open_store(path.parent).records(
        path.name, distributions=False, by="parameter"
    )


def _start(path: Path) -> str:
    return open_store(path.parent).description(path.name).start


def _label(source: Any) -> str:
    return Path(source).name if isinstance(source, str | Path) else "checkpoints"


def _medians(apart_P: Array, null_P: Array) -> tuple[float, float]:
    finite = np.isfinite(apart_P)
    apart = float(np.median(apart_P[finite])) if finite.any() else float("nan")
    told = np.isfinite(null_P)
    return apart, float(np.median(null_P[told])) if told.any() else float("nan")


def _say(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else ""
