"""Which tensor of one checkpoint is which of the other: by name first, then by numbers.

Rounds from the surest to the least sure; each takes what the ones before it have left.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from birthmark.weight_files.contents import match_by_content
from birthmark.weight_files.fusion import match_fused, match_shards
from birthmark.weight_files.stored import StoredTensor, WeightFile
from birthmark.weight_files.views import Piece, layouts

# what torch.compile, data parallelism and trainers put between
_WRAPPERS = {
    *("_orig_mod", "module", "_forward_module", "_fsdp_wrapped_module"),
    *("_checkpoint_wrapped_module", "_ddp_module"),
}
_KERNELS = {"kernel": "weight", "gamma": "weight", "beta": "bias", "scale": "weight"}


@dataclass(frozen=True)
class Match:
    """Tensors of two checkpoints that are one and the same, piece by piece."""

    name: str  # as the second has it
    name_a: str
    how: str  # '' where names and shapes are the same
    pieces: tuple[tuple[Piece, Piece], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the second's tensor, of its first piece where there are several."""
        return self.pieces[0][1].shape

    @property
    def count(self) -> int:
        """Numbers that are compared."""
        return sum(piece.count for _, piece in self.pieces)


@dataclass(frozen=True)
class Pairing:
    """The tensors of two checkpoints side by side, and those that stand alone."""

    matches: tuple[Match, ...]  # in the order of the second
    only_a: tuple[StoredTensor, ...]
    only_b: tuple[StoredTensor, ...]
    reshaped: tuple[tuple[StoredTensor, StoredTensor], ...]  # same name, other shape


class Leftovers:
    """What has not been matched yet, on both sides."""

    def __init__(self, a: Mapping[str, StoredTensor], b: Mapping[str, StoredTensor]):
        self.a, self.b = dict(a), dict(b)
        self.matches: dict[str, Match] = {}

    def take(self, name_a: str, name_b: str, how: str) -> bool:
        """Match two tensors if their shapes allow it, turned over if need be."""
        a, b = self.a.get(name_a), self.b.get(name_b)
        if a is None or b is None:
            return False
        order = next(iter(layouts(a.shape, b.shape)), None)
        if order is None:
            return False
        turned = "" if order == tuple(range(len(order))) else "transposed"
        self.match(name_b, name_a, [(Piece(a, order), Piece(b))], how, turned)
        del self.a[name_a], self.b[name_b]
        return True

    def match(
        self,
        name: str,
        name_a: str,
        pieces: Iterable[tuple[Piece, Piece]],
        *how: str,
    ) -> None:
        """Note a match; who calls removes what it took."""
        said = ", ".join(one for one in how if one)
        self.matches[name] = Match(name, name_a, said, tuple(pieces))


def pair_tensors(a: WeightFile, b: WeightFile) -> Pairing:
    """Match the tensors of two checkpoints; nothing is matched twice."""
    left = Leftovers(a.tensors, b.tensors)
    match_shards(left, a.shards, b.shards)
    _by_key(left, lambda name: name, "")
    _by_key(left, _unwrapped, "wrapper left out")
    _by_prefix(left)
    _by_key(left, _in_torch_words, "renamed")
    match_fused(left)
    match_by_content(left)
    reshaped = [
        (left.a.pop(name), left.b.pop(name)) for name in [*left.a] if name in left.b
    ]
    order = {name: i for i, name in enumerate([*b.tensors, *b.shards])}
    matches = sorted(left.matches.values(), key=lambda m: order.get(m.name, len(order)))
    return Pairing(
        tuple(matches), tuple(left.a.values()), tuple(left.b.values()), tuple(reshaped)
    )


def _by_key(left: Leftovers, key: Callable[[str], str], how: str) -> None:
    """Match names that are the same once a rule has been applied to both."""
    named: dict[str, str] = {}
    for name in left.a:
        named.setdefault(key(name), name)
    for name in [*left.b]:
        if (other := named.get(key(name))) is not None:
            left.take(other, name, how if other != name else "")


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _by_prefix(left: Leftovers) -> None:
    """Match names that one side has with a prefix in front, the commonest first."""
    ends_a = _by_last_parts(left.a)
    votes: Counter[tuple[str, str]] = Counter()
    for name in left.b:
        for other in ends_a[_last_parts(name)]:
            short, long = sorted((_unwrapped(name), _unwrapped(other)), key=len)
            if long.endswith(short) and long[: -len(short)][-1:] in (".", "/"):
                prefix = long[: -len(short)]
                side = "b" if _unwrapped(name) == long else "a"
                votes[side, prefix] += 1
    for (side, prefix), _ in votes.most_common():

        def strip(name: str, mine: str, side: str = side, prefix: str = prefix) -> str:
            name = _unwrapped(name)
            return name.removeprefix(prefix) if mine == side else name

        named = {strip(name, "a"): name for name in left.a}
        for name in [*left.b]:
            if (same := named.get(strip(name, "b"))) is not None:
                left.take(same, name, f"prefix {prefix.rstrip('./')}")


def _last_parts(name: str) -> str:
    return "/".join(re.split(r"[./]", name)[-2:])


def _by_last_parts(names: Iterable[str]) -> dict[str, list[str]]:
    ends: dict[str, list[str]] = defaultdict(list)
    for name in names:
        ends[_last_parts(name)].append(name)
    return ends


def _in_torch_words(name: str) -> str:
    """`dense/kernel` as `dense.weight`."""
    *path, last = re.split(r"[./]", name)
    return ".".join([*path, _KERNELS.get(last, last)])
