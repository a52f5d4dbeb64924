"""Two checkpoints compared: matched, streamed, read and judged."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from birthmark.errors import WeightsError
from birthmark.weight_files.diffs import Diff, Side
from birthmark.weight_files.findings import judge
from birthmark.weight_files.glances import Glance, glance
from birthmark.weight_files.opening import open_weights
from birthmark.weight_files.pairing import Match, Pairing, pair_tensors
from birthmark.weight_files.readings import TensorDiff, read_tensor
from birthmark.weight_files.stored import WeightFile
from birthmark.weight_files.sums import add_up
from birthmark.weight_files.units import in_own_unit

_BUFFERS = re.compile(
    r"(running_(mean|var)|num_batches_tracked|moving_(mean|variance)|inv_freq"
    r"|position_ids|(sin|cos)_cached?)$"
)


def diff(a: Any, b: Any) -> Diff:
    """What became of one checkpoint in another, tensor by tensor, beside null models.

    Files are mapped and read slice by slice: the memory needed does not grow with them.
    Nothing that lies in them is run.

    Args:
        a: The earlier one: a file or folder of safetensors, torch, Keras, HDF5 or
            NumPy, an index of shards, a torch module, or a mapping of names to tensors.
        b: The later one.

    Raises:
        WeightsError: One cannot be read, or they have no tensor in common.
    """
    began = time.perf_counter()
    first, second = open_weights(a), open_weights(b)
    pairing = pair_tensors(first, second)
    if not pairing.matches:
        raise _nothing_in_common(first, second, pairing)
    compared = Diff(
        a=_side(first),
        b=_side(second),
        tensors=tuple(read_tensors(pairing.matches)),
        only_a=tuple((t.name, t.shape) for t in pairing.only_a),
        only_b=tuple((t.name, t.shape) for t in pairing.only_b),
        reshaped=tuple((x.name, x.shape, y.shape) for x, y in pairing.reshaped),
        num_bytes=sum(_bytes(match) for match in pairing.matches),
        seconds=time.perf_counter() - began,
    )
    return replace(compared, verdict=judge(compared))


def read_tensors(matches: Sequence[Match]) -> Iterator[TensorDiff]:
    """Read matched tensors in order: a sample of each, then all of its numbers."""
    glances: list[Glance] = []

    def look() -> Iterator[Sequence[tuple[object, object]]]:
        for match in matches:
            glances.append(glance(in_own_unit(match)))
            yield glances[-1].match.pieces

    for number, sums in enumerate(add_up(look())):  # type: ignore[arg-type]
        seen = glances[number]
        match = seen.match
        a, b = match.pieces[0]
        state, readings = read_tensor(match, sums, seen.relation, seen.deviation)
        yield TensorDiff(
            name=match.name,
            name_a=match.name_a,
            how=match.how,
            shape=match.shape,
            dtype_a=str(a.dtype).removeprefix("torch."),
            dtype_b=str(b.dtype).removeprefix("torch."),
            kind=_kind(match),
            state=state,
            count=match.count,
            readings=readings,
            relation=seen.relation,
            fresh_a=seen.fresh_a,
            fresh_b=seen.fresh_b,
            law=seen.law,
            sums=sums,
            units=(a.unit, b.unit),
        )


def _kind(match: Match) -> Literal["weight", "vector", "buffer"]:
    whole = not match.pieces[0][1].dtype.is_floating_point
    if whole or _BUFFERS.search(match.name):
        return "buffer"
    return "weight" if len(match.shape) > 1 else "vector"


def _side(weights: WeightFile) -> Side:
    tensors = len(weights.tensors) + len(weights.shards)
    return Side(weights.label, weights.kind, tensors, weights.count, weights.notes)


def _bytes(match: Match) -> int:
    return sum(
        piece.count * piece.dtype.itemsize for pair in match.pieces for piece in pair
    )


def _nothing_in_common(a: WeightFile, b: WeightFile, pairing: Pairing) -> WeightsError:
    def first(weights: WeightFile) -> str:
        names = [*weights.tensors, *weights.shards]
        tensor = weights.tensors.get(names[0])
        shape = "" if tensor is None else f" {list(tensor.shape)}"
        return f"{len(names)} tensors, as {names[0]}{shape}"

    why = "no two have the same name, shape or numbers"
    if pairing.reshaped:
        name, x, y = (pairing.reshaped[0][0].name, *pairing.reshaped[0])
        why = (
            f"{len(pairing.reshaped)} have the same name and another shape, as {name}, "
            f"{list(x.shape)} and {list(y.shape)}"
        )
    return WeightsError(
        f"nothing to compare in {a.label} ({first(a)}) and {b.label} ({first(b)}): "
        f"{why}; give two checkpoints of one architecture"
    )
