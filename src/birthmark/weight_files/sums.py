"""One pass over two tensors: the sums from which distances are made, block by block.

A block is as large as a processor's own cache holds several of, all arithmetic on it is
float64, and nothing of it is kept.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields

import torch

from birthmark.compilation import compile_sources
from birthmark.shapes import Tensor
from birthmark.weight_files.views import Piece

# in the order of the C: sums of a, b, aa, bb, ab, dd; counts of changed, signed and
# kept; the sum of ad; the largest of |d|
NUM_SUMS = 11
_NAMES = {
    torch.float32: "add_up_f32",
    torch.float64: "add_up_f64",
    torch.bfloat16: "add_up_bf16",
    torch.float16: "add_up_f16",
}
Kernel = Callable[[Tensor, Tensor], list[float]]


@functools.cache
def find_kernel(dtype: torch.dtype) -> Kernel | None:
    """The kernel for contiguous tensors of this dtype; None where there is none."""
    library = _load()
    function = getattr(library, _NAMES.get(dtype, ""), None) if library else None
    if function is None:
        return None
    function.restype = None
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64] + [
        ctypes.POINTER(ctypes.c_double)
    ]

    def add_up(a: Tensor, b: Tensor) -> list[float]:
        sums = (ctypes.c_double * NUM_SUMS)()
        function(a.data_ptr(), b.data_ptr(), a.numel(), sums)
        return list(sums)

    return add_up


@functools.cache
def _load() -> ctypes.CDLL | None:
    # comparisons are wanted side by side, and nobody asks for the flags they raise
    path = compile_sources("birthmark.weight_files", ["sums.c"], ["-fno-trapping-math"])
    try:
        return None if path is None else ctypes.CDLL(str(path))
    except OSError:
        return None


BLOCK = 65_536  # numbers
_TASK = 64 * BLOCK  # numbers that one thread takes at a time
_BETWEEN = 32  # one block in so many is looked at for what a sample tells well enough


@dataclass(frozen=True)
class Sums:
    """Over all finite pairs (a, b) of two tensors, with d = b - a."""

    count: float = 0.0  # pairs that are finite
    a: float = 0.0
    b: float = 0.0
    aa: float = 0.0
    bb: float = 0.0
    ab: float = 0.0
    dd: float = 0.0
    ad: float = 0.0
    largest: float = 0.0  # of |d|
    changed: float = 0.0  # pairs that differ in the coarser of two dtypes
    signed: float = 0.0  # a is not zero
    kept: float = 0.0  # b has the sign of a
    nonfinite_a: float = 0.0
    nonfinite_b: float = 0.0
    # over one block in 32
    sampled: float = 0.0
    positive_a: float = 0.0
    negative_a: float = 0.0
    positive_b: float = 0.0
    negative_b: float = 0.0
    kept_by_noise: float = 0.0  # sign of a + d of another weight is that of a

    def __add__(self, other: Sums) -> Sums:
        added = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in fields(self)
        }
        return Sums(**added | {"largest": max(self.largest, other.largest)})


def add_up(pairs: Sequence[Sequence[tuple[Piece, Piece]]]) -> Iterator[Sums]:
    """The sums of each pair of tensors, given as pieces of one shape each, in order.

    Every processor that torch may use works on them.
    """
    workers = max(1, min(torch.get_num_threads(), os.cpu_count() or 1))
    with _one_thread_each(), ThreadPoolExecutor(workers) as pool:
        # few tensors ahead: what waits in the queue holds open views, not numbers
        waiting: list[list[object]] = []
        for pieces in pairs:
            waiting.append([pool.submit(_sum_range, *task) for task in _tasks(pieces)])
            if len(waiting) > 2 * workers:
                yield _total(waiting.pop(0))
        for futures in waiting:
            yield _total(futures)


def _total(futures: Iterable[object]) -> Sums:
    total = Sums()
    for future in futures:
        total += future.result()  # type: ignore[attr-defined]
    return total


_Task = tuple[Tensor, Tensor, int, int]


def _tasks(pieces: Iterable[tuple[Piece, Piece]]) -> Iterator[_Task]:
    for piece_a, piece_b in pieces:
        a, b = _as_rows(piece_a.load()), _as_rows(piece_b.load())
        if a.is_contiguous() and b.is_contiguous():
            a, b = a.reshape(-1), b.reshape(-1)
        size = max(1, _TASK // max(1, a[0].numel())) if len(a) else 1
        for start in range(0, len(a), size):
            yield a, b, start, min(start + size, len(a))


def _as_rows(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.reshape(1) if tensor.ndim == 0 else tensor


def _sum_range(a: Tensor, b: Tensor, start: int, end: int) -> Sums:
    # one axis may be a column, or one number repeated: torch keeps views as they are
    in_row = a.dtype == b.dtype and a.is_contiguous() and b.is_contiguous()
    kernel = find_kernel(a.dtype) if in_row else None
    if kernel is not None:
        found = _sum_in_c(kernel, a[start:end], b[start:end])
        if found is not None:
            return found
    total = Sums()
    rows = max(1, BLOCK // max(1, a[0].numel()))
    for number, row in enumerate(range(start, end, rows)):
        part = slice(row, min(row + rows, end))
        x, y = a[part].reshape(-1), b[part].reshape(-1)
        total += _sum_block(x, y, sampled=number % _BETWEEN == 0)
    return total


def _sum_in_c(kernel: Kernel, a: Tensor, b: Tensor) -> Sums | None:
    """The same of contiguous tensors; None where a number is not finite."""
    sum_a, sum_b, aa, bb, ab, dd, changed, signed, kept, ad, largest = kernel(a, b)
    if not dd < float("inf"):
        return None
    total = Sums(
        *(float(len(a)), sum_a, sum_b, aa, bb, ab, dd, ad, largest),
        *(changed, signed, kept),
    )
    for start in range(0, len(a), _BETWEEN * BLOCK):
        x = a[start : start + BLOCK].to(torch.float64)
        y = b[start : start + BLOCK].to(torch.float64)
        total += Sums(**_sample_block(x, y, y - x))
    return total


def _sum_block(a: Tensor, b: Tensor, *, sampled: bool) -> Sums:
    x, y = a.to(torch.float64), b.to(torch.float64)
    d = y - x
    stored = d if a.dtype == b.dtype else _in_coarser(b, a) - _in_coarser(a, b)
    dd = float(torch.dot(d, d))
    nonfinite: tuple[float, ...] = (0.0, 0.0)
    if not dd < float("inf"):
        nonfinite = tuple(float((~t.isfinite()).count_nonzero()) for t in (x, y))
        finite = d.isfinite()
        x, y, d, stored = x[finite], y[finite], d[finite], stored[finite]
        dd = float(torch.dot(d, d))
    largest = (
        max((abs(float(one)) for one in d.aminmax()), default=0.0) if len(d) else 0
    )
    return Sums(
        float(len(d)),
        float(x.sum()),
        float(y.sum()),
        float(torch.dot(x, x)),
        float(torch.dot(y, y)),
        float(torch.dot(x, y)),
        dd,
        float(torch.dot(x, d)),
        float(largest),
        float(stored.count_nonzero()),
        float(x.count_nonzero()),
        float((x.sign() * y.sign() > 0).count_nonzero()),
        *nonfinite,
        **(_sample_block(x, y, d) if sampled else {}),
    )


def _sample_block(x: Tensor, y: Tensor, d: Tensor) -> dict[str, float]:
    # each weight is given the move of the one half a block further on
    other = x + d.roll(len(d) // 2)
    counts = {
        "positive_a": x > 0,
        "negative_a": x < 0,
        "positive_b": y > 0,
        "negative_b": y < 0,
        "kept_by_noise": x.sign() * other.sign() > 0,
    }
    counted = {name: float(one.count_nonzero()) for name, one in counts.items()}
    return {"sampled": float(len(x)), **counted}


def _in_coarser(values: Tensor, other: Tensor) -> Tensor:
    """Values as the coarser of two dtypes holds them."""
    return values.to(coarser(values.dtype, other.dtype)).to(torch.float64)


def coarser(a: torch.dtype, b: torch.dtype) -> torch.dtype:
    """The dtype that keeps fewer digits; of two with as many, the narrower."""
    if not (a.is_floating_point and b.is_floating_point):
        return a if a.is_floating_point else b

    def step(dtype: torch.dtype) -> tuple[float, int]:
        return torch.finfo(dtype).eps, -dtype.itemsize

    return max(a, b, key=step)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Leave the processors to our own threads, and give torch its own back after."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
