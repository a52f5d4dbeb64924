"""One tensor here, several there: fused projections, and parts of ranks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import permutations
from typing import TYPE_CHECKING

from birthmark.weight_files.contents import resemblance
from birthmark.weight_files.stored import StoredTensor
from birthmark.weight_files.views import Piece

if TYPE_CHECKING:
    from birthmark.weight_files.pairing import Leftovers

# parts of a name: the fused one, and those that it is made of, in their usual order
_FUSED = (
    (
        r"qkv(_proj)?|c_attn|in_proj|query_key_value|Wqkv|W_pack|attn_qkv",
        (
            r"q(_proj|_lin)?|query|wq",
            r"k(_proj|_lin)?|key|wk",
            r"v(_proj|_lin)?|value|wv",
        ),
    ),
    (r"gate_up_proj|gate_up|w13|fc1_gate", (r"gate_proj|gate|w1", r"up_proj|up|w3")),
    (r"kv(_proj)?|key_value", (r"k(_proj)?|key", r"v(_proj)?|value")),
)
_LAST = r"(?P<joint>[._])(?P<last>weight|bias|kernel)$"


def match_fused(left: Leftovers) -> None:
    """Match fused projections of one side with the separate ones of the other."""
    for fused, parts in ((left.b, left.a), (left.a, left.b)):
        for name in [*fused]:
            chosen = _parts_of(name, fused[name], parts)
            if chosen is None:
                continue
            whole = fused.pop(name)
            for part, place in chosen:
                piece = Piece(whole, part=place[:3], order=place[3])
                tensor = parts.pop(part)
                label = f"{name}[{place[1]}:{place[1] + place[2]}]"
                if fused is left.b:
                    pair, names = (Piece(tensor), piece), (label, part)
                    how = f"split: part of {name}"
                else:
                    pair, names = (piece, Piece(tensor)), (part, label)
                    how = f"fused: part of {name}"
                left.match(*names, [pair], how)


_Place = tuple[int, int, int, tuple[int, ...] | None]  # axis, start, length, order


def _parts_of(
    name: str, whole: StoredTensor, parts: Mapping[str, StoredTensor]
) -> list[tuple[str, _Place]] | None:
    for fused, kinds in _FUSED:
        # `in_proj_weight` of torch's attention has no dot before its last word
        found = re.search(rf"(?P<stem>^|.*[./])({fused}){_LAST}", name)
        if not found:
            continue
        stem, last = found["stem"], found["last"]
        siblings = [_sibling(stem, kind, last, parts) for kind in kinds]
        if any(sibling is None for sibling in siblings):
            continue
        return _place([s for s in siblings if s is not None], whole, parts)
    return None


def _sibling(stem: str, kind: str, last: str, names: Iterable[str]) -> str | None:
    pattern = re.compile(rf"(.*[./])?({kind})[._/]{last}$")
    near = [name for name in names if pattern.fullmatch(name)]
    # the module around it may have another prefix: the longest common end decides
    same = [name for name in near if _block(name) == _block(stem + "x.weight")]
    return same[0] if len(same) == 1 else None


def _block(name: str) -> tuple[str, ...]:
    """The numbers in a path, and the last module of it: which block it lies in."""
    parts = re.split(r"[./]", name)[:-2]
    return tuple(part for part in parts if part.isdigit()) or tuple(parts[-1:])


def _place(
    names: list[str], whole: StoredTensor, parts: Mapping[str, StoredTensor]
) -> list[tuple[str, _Place]] | None:
    """Where each part lies, in the order of parts that fits the numbers best."""
    for axis in range(len(whole.shape)):
        shapes = [parts[name].shape for name in names]
        turned: tuple[int, ...] | None = None
        if axis == len(whole.shape) - 1 and axis == 1:
            turned = (1, 0)  # c_attn of GPT-2 keeps [in, out]
            shapes = [shape[::-1] for shape in shapes]
        rest = [side for i, side in enumerate(whole.shape) if i != axis]
        if any(len(s) != len(whole.shape) for s in shapes) or any(
            [side for i, side in enumerate(s) if i != axis] != rest for s in shapes
        ):
            continue
        if sum(shape[axis] for shape in shapes) != whole.shape[axis]:
            continue
        best: tuple[float, list[tuple[str, _Place]]] | None = None
        for order in permutations(range(len(names))):
            start, score = 0, 0.0
            placed: list[tuple[str, _Place]] = []
            for i in order:
                place = (axis, start, shapes[i][axis], turned)
                placed.append((names[i], place))
                piece = Piece(whole, part=place[:3], order=turned)
                score += resemblance(Piece(parts[names[i]]), piece)
                start += shapes[i][axis]
            # the usual order comes first and keeps its place where numbers say nothing
            if best is None or score > best[0] + 0.05:
                best = (score, placed)
        return best[1] if best else None
    return None


def match_shards(
    left: Leftovers,
    a: Mapping[str, tuple[StoredTensor, ...]],
    b: Mapping[str, tuple[StoredTensor, ...]],
) -> None:
    """Match tensors whose parts lie with several ranks, on one side or on both."""
    for name in [*dict.fromkeys([*a, *b])]:
        parts_a, parts_b = a.get(name), b.get(name)
        if parts_a and parts_b and _shapes(parts_a) == _shapes(parts_b):
            pairs = [
                (Piece(x), Piece(y)) for x, y in zip(parts_a, parts_b, strict=True)
            ]
            left.match(name, name, pairs, f"in {len(pairs)} shards")
        elif parts_a and name in left.b and (pieces := _cut(left.b[name], parts_a)):
            del left.b[name]
            pairs = [(Piece(x), y) for x, y in zip(parts_a, pieces, strict=True)]
            left.match(name, name, pairs, f"{len(pairs)} shards against one")
        elif parts_b and name in left.a and (pieces := _cut(left.a[name], parts_b)):
            del left.a[name]
            pairs = [(x, Piece(y)) for x, y in zip(pieces, parts_b, strict=True)]
            left.match(name, name, pairs, f"one against {len(pairs)} shards")
        if name not in left.matches:
            for side, parts in ((left.a, parts_a), (left.b, parts_b)):
                for rank, part in enumerate(parts or ()):
                    side[f"{name} of rank {rank}"] = part.renamed(
                        f"{name} of rank {rank}"
                    )


def _shapes(parts: Iterable[StoredTensor]) -> list[tuple[int, ...]]:
    return [part.shape for part in parts]


def _cut(whole: StoredTensor, parts: tuple[StoredTensor, ...]) -> list[Piece] | None:
    """The pieces of a tensor that its shards are; whole for each where all have all."""
    if all(part.shape == whole.shape for part in parts):
        return [Piece(whole) for _ in parts]
    for axis, side in enumerate(whole.shape):
        sides = [part.shape[axis] for part in parts if len(part.shape) > axis]
        if len(sides) == len(parts) and sum(sides) == side:
            starts = [sum(sides[:i]) for i in range(len(sides))]
            return [
                Piece(whole, part=(axis, start, length))
                for start, length in zip(starts, sides, strict=True)
            ]
    return None
