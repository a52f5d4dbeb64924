"""The C of this room, compiled for this processor at first use and kept in a cache."""

import ctypes
import functools

from birthmark.compilation import compile_sources

_SOURCES = (
    "step.c",
    "products.h",
    "transposition.h",
    "operands.h",
    "exponential.h",
    "shared.h",
)
_DEFINES = {
    ("float32", "full"): ["-DREAL=float"],
    ("float32", "bf16"): ["-DREAL=float", "-DBF16"],
    ("float64", "full"): ["-DREAL=double", "-DREAL_IS_DOUBLE"],
}


@functools.cache
def load_library(dtype: str, precision: str = "full") -> ctypes.CDLL | None:
    """The library for a dtype and a precision; None where it cannot be had.

    That is where there is no C compiler (`cc`, or the one that `CC` names), or where it
    does not take the sources, as those of `bf16` on a processor that has no products of
    bfloat16. All then goes on without it, more slowly. Delete the folder `kernels` of
    the cache to compile anew.
    """
    options = _DEFINES.get((dtype, precision))
    if options is None:
        return None
    path = compile_sources("birthmark.training.compiled", _SOURCES, options)
    if path is None:
        return None
    try:
        library = ctypes.CDLL(str(path))
    except OSError:
        return None
    library.row_stride.restype = library.scratch_size.restype = ctypes.c_int64
    library.train.restype = ctypes.c_int64
    library.evaluate.restype = None
    if precision == "full":
        library.shared_scratch_size.restype = ctypes.c_int64
        library.train_shared.restype = None
    return library
