"""More than two checkpoints: each against the first, and the path through all."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birthmark.errors import StoreError, WeightsError
from birthmark.measurements import extend_path, fingerprint, measure, to_parameters
from birthmark.shapes import Parameters, StepMetrics, Tensor
from birthmark.store import RunDescription, open_store
from birthmark.weight_files.comparing import diff
from birthmark.weight_files.diffs import Diff
from birthmark.weight_files.opening import open_weights
from birthmark.weight_files.pairing import Match, pair_tensors
from birthmark.weight_files.stored import WeightFile
from birthmark.weight_files.texts import tensor_data
from birthmark.wording import to_json

if TYPE_CHECKING:
    import xarray as xr

SCHEMA = "birthmark-trajectory/1"
HEADER = ["checkpoint", "step", "moved", "cosine", "changed", "farthest"]


@dataclass(frozen=True)
class Trajectory:
    """Checkpoints of one training in order, each against the first."""

    steps: tuple[int, ...]  # of all checkpoints, the first included
    labels: tuple[str, ...]
    diffs: tuple[Diff, ...]  # one fewer

    @property
    def headline(self) -> str:
        """What became of the first in the last."""
        return self.diffs[-1].verdict.headline

    def table(self) -> tuple[list[str], list[list[str]]]:
        """One line a checkpoint; the first has not moved."""
        rows = [[self.labels[0], str(self.steps[0]), "0", "1", "0%", ""]]
        for step, label, one in zip(
            self.steps[1:], self.labels[1:], self.diffs, strict=True
        ):
            total = one.total
            moved = total.relative_distance
            farthest = next(iter(one.ranked()), None)
            rows.append(
                [
                    label,
                    str(step),
                    f"{moved.value:.3g} ({moved.redraw:.2f})",
                    f"{total.cosine.value:.3f}",
                    f"{total.changed:.0%}",
                    "" if farthest is None else farthest.name,
                ]
            )
        return HEADER, rows

    @property
    def null(self) -> str:
        """What the null model is."""
        return "a re-draw of the same numbers, which keeps nothing of its place"

    @property
    def legend(self) -> str:
        """What the columns of the table mean."""
        return (
            "moved: length of the move over that of the start; in brackets: a re-draw. "
            "changed: share of stored values. farthest: the tensor that moved most."
        )

    def lengths(self) -> list[tuple[str, float, float]]:
        """Each checkpoint, how far it moved, and how far a re-draw would be."""
        moved = [one.total.relative_distance for one in self.diffs]
        return [
            (label, one.value, math.nan if one.redraw is None else one.redraw)
            for label, one in zip(self.labels[1:], moved, strict=True)
        ]

    def to_json(self) -> str:
        """All numbers; the schema is named in the first field and only grows."""
        pairs = zip(self.steps[1:], self.labels[1:], self.diffs, strict=True)
        return to_json(
            {
                "schema": SCHEMA,
                "headline": self.headline,
                "start": {"step": self.steps[0], "label": self.labels[0]},
                "checkpoints": [
                    {
                        "step": step,
                        "label": label,
                        "verdict": one.verdict.kind,
                        "total": one.total,
                        "tensors": [tensor_data(tensor) for tensor in one.tensors],
                    }
                    for step, label, one in pairs
                ],
            }
        )


def follow(
    checkpoints: Sequence[Any],
    *,
    steps: Sequence[int] | None = None,
    store: str | Path | None = None,
    name: str = "",
    fields: Mapping[str, Any] | None = None,
) -> Trajectory:
    """Compare checkpoints of one training with the first of them.

    Args:
        checkpoints: At least two, the start first; whatever `diff` takes.
        steps: Optimizer steps of each; by default the last number in each name, where
            these rise, and else 0, 1, 2, ...
        store: A folder to write the table of measurements to as a run of the kind
            `checkpoints`, so that `birthmark report` and figures show it.
        name: Of that run.
        fields: Of that run, in what it differs from others.

    Raises:
        WeightsError: One cannot be read, or they have no tensor in common.
        StoreError: The store cannot be written.
    """
    opened = [open_weights(one) for one in checkpoints]
    if len(opened) < 2:
        raise WeightsError("a trajectory has at least two checkpoints: give more files")
    labels = tuple(_distinct(opened, checkpoints))
    counted = tuple(steps) if steps is not None else find_steps(labels)
    if len(counted) != len(opened) or list(counted) != sorted(set(counted)):
        raise WeightsError(
            f"steps must rise, one for each of {len(opened)} checkpoints: {counted}"
        )
    diffs = tuple(diff(opened[0], other) for other in opened[1:])
    if store is not None:
        _write(opened, counted, Path(store), name, dict(fields or {}), labels)
    return Trajectory(counted, labels, diffs)


def find_steps(labels: Sequence[str]) -> tuple[int, ...]:
    """The last number in each name, where these rise; else 0, 1, 2, ..."""
    numbers = [re.findall(r"\d+", Path(label).stem) for label in labels]
    found = [int(one[-1]) if one else -1 for one in numbers]
    # `final` has no number: it comes after the last that has one
    if len(found) > 2 and found[-1] < 0:
        found[-1] = found[-2] + 1
    rises = found == sorted(set(found)) and found[0] >= 0
    return tuple(found) if rises else tuple(range(len(labels)))


def _distinct(opened: Sequence[WeightFile], given: Sequence[Any]) -> Iterator[str]:
    """Names of files, with their folders where several have one name."""
    labels = [one.label for one in opened]
    for label, source in zip(labels, given, strict=True):
        same = labels.count(label) > 1 and isinstance(source, str | Path)
        yield f"{Path(source).parent.name}/{label}" if same else label


def _write(
    opened: Sequence[WeightFile],
    steps: Sequence[int],
    store: Path,
    name: str,
    fields: dict[str, Any],
    labels: Sequence[str],
) -> None:
    """The table of measurements of all tensors that all checkpoints have."""
    matched = [_matched(opened[0], other) for other in opened]
    shared = [n for n in matched[0] if all(n in one for one in matched)]
    if not shared:
        raise WeightsError("no tensor is in all checkpoints: there is nothing to store")
    initial = _parameters(matched[0], shared, first=True)
    described = RunDescription(
        "checkpoints",
        name or labels[-1],
        fields,
        start=fingerprint(initial),
        measured={"checkpoints": list(labels), "steps": list(steps)},
    )
    run = open_store(store, create=True).start_run(described)
    with run.closed_on_failure():
        if run.is_done:
            _check_same(store, run.run_key, described)
            return
        path: dict[str, Tensor] = {}
        previous = initial
        for step, one in zip(steps, matched, strict=True):
            current = _parameters(one, shared, first=False)
            path = extend_path(path, previous, current)
            run.append_metrics(StepMetrics(step, {}))
            run.append_measurements(step, step, _measure(initial, current, path))
            previous = current
        run.finish({"checkpoints": list(labels)})


def _check_same(store: Path, run_key: str, described: RunDescription) -> None:
    stored = open_store(store).description(run_key)
    if stored.measured != described.measured:
        raise StoreError(
            f"{store} has a trajectory of the name {described.name!r} from this start, "
            f"of other checkpoints ({', '.join(stored.measured['checkpoints'])}): give "
            "another name"
        )


def _matched(first: WeightFile, other: WeightFile) -> dict[str, Match]:
    """Whole tensors of the first by name, with what they are in the other."""
    return {
        match.name_a: match
        for match in pair_tensors(first, other).matches
        if len(match.pieces) == 1
        and match.pieces[0][0].part is None
        and match.pieces[0][1].part is None
        and match.pieces[0][0].dtype.is_floating_point
    }


def _parameters(
    matched: Mapping[str, Match], names: Sequence[str], *, first: bool
) -> Parameters:
    """Views of the tensors with the axes that the first has."""
    tensors: dict[str, Tensor] = {}
    for name in names:
        piece_a, piece_b = matched[name].pieces[0]
        tensor = piece_a.tensor.load() if first else piece_b.load()
        if not first and piece_a.order is not None:
            back = sorted(range(len(piece_a.order)), key=piece_a.order.__getitem__)
            tensor = tensor.permute(back)
        tensors[name] = tensor
    return to_parameters(tensors)


def _measure(
    initial: Parameters, current: Parameters, path: Mapping[str, Tensor]
) -> xr.Dataset:
    """One tensor after the other, so that memory holds one in float64."""
    import xarray as xr

    parts = []
    for name in initial:
        one = {name: initial[name]}, {name: current[name]}
        sides = [Parameters(side) for side in one]
        length = {name: path[name]}
        parts.append(measure(*sides, path=length, kind="scalars"))
    return xr.concat(parts, dim="parameter", data_vars="all", join="outer")
