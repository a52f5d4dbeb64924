"""The sums over a range in C, where it can be compiled: one pass over the numbers."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import torch

from birthmark.compilation import compile_sources
from birthmark.shapes import Tensor

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
