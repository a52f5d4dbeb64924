"""The C of this room, compiled for this processor at first use and kept in a cache."""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

import platformdirs

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
# products and sums may be fused into one instruction; nothing else is relaxed
_FLAGS = [
    "-std=gnu11",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fPIC",
    "-shared",
]


@functools.cache
def load_library(dtype: str, precision: str = "full") -> ctypes.CDLL | None:
    """The library for a dtype and a precision; None where it cannot be had.

    That is where there is no C compiler (`cc`, or the one that `CC` names), or where it
    does not take the sources, as those of `bf16` on a processor that has no products of
    bfloat16. All then goes on without it, more slowly. Delete the folder `kernels` of
    the cache to compile anew.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or (dtype, precision) not in _DEFINES:
        return None
    try:
        library = ctypes.CDLL(str(_compile(compiler, _DEFINES[dtype, precision])))
    except (OSError, subprocess.SubprocessError):
        return None
    library.row_stride.restype = library.scratch_size.restype = ctypes.c_int64
    library.train.restype = ctypes.c_int64
    library.evaluate.restype = None
    if precision == "full":
        library.shared_scratch_size.restype = ctypes.c_int64
        library.train_shared.restype = None
    return library


def _compile(compiler: str, defines: list[str]) -> Path:
    source = files("birthmark.training.compiled")
    texts = [source.joinpath(name).read_bytes() for name in _SOURCES]
    command = [*compile_command(compiler), *defines]
    # what the compiler says of this processor is in the name: a home may be shared
    macros = _run([*command, "-dM", "-E", "-x", "c", os.devnull])
    name = hashlib.sha256(b"\0".join([*texts, " ".join(command).encode(), macros]))
    folder = Path(platformdirs.user_cache_dir("birthmark")) / "kernels"
    target = folder / f"{name.hexdigest()[:32]}.so"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as workshop:
            for file, text in zip(_SOURCES, texts, strict=True):
                (Path(workshop) / file).write_bytes(text)
            made = Path(workshop) / target.name
            _run([*command, str(Path(workshop) / "step.c"), "-o", str(made), "-lm"])
            made.replace(target)  # two processes may compile it at once
    return target


def compile_command(compiler: str) -> list[str]:
    """What makes a library of these sources, but for their defines and names."""
    if platform.machine() in ("x86_64", "AMD64"):
        return [compiler, *_FLAGS, "-march=native", "-mprefer-vector-width=512"]
    return [compiler, *_FLAGS, "-mcpu=native"]


def _run(command: list[str]) -> bytes:
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    return done.stdout
