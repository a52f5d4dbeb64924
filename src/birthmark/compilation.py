"""C of ours, compiled for this processor at first use and kept in a cache.

Delete the folder `kernels` of the cache to compile anew. Where nothing can be kept
there, as in a home that may only be read, each process compiles for itself.
"""

import atexit
import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import platformdirs

# products and sums may be fused into one instruction; nothing else is relaxed
_FLAGS = [
    "-std=gnu11",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fPIC",
    "-shared",
]
_LOAD = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"


def compile_sources(
    package: str, sources: Sequence[str], options: Sequence[str] = ()
) -> Path | None:
    """A library made of the C of a package; None where it cannot be had.

    That is where there is no C compiler (`cc`, or the one that `CC` names), or where it
    does not take the sources. All goes on without it then, more slowly.

    Args:
        package: Whose files the sources are.
        sources: The one to compile, and those that it includes.
        options: Of the compiler, besides ours.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    try:
        return _compile(compiler, package, sources, options)
    except (OSError, subprocess.SubprocessError):
        return None


def compile_command(compiler: str) -> list[str]:
    """What makes a library of our sources, but for their options and names."""
    if platform.machine() in ("x86_64", "AMD64"):
        return [compiler, *_FLAGS, "-march=native", "-mprefer-vector-width=512"]
    return [compiler, *_FLAGS, "-mcpu=native"]


def _compile(
    compiler: str, package: str, sources: Sequence[str], options: Sequence[str]
) -> Path:
    folder = files(package)
    texts = [folder.joinpath(name).read_bytes() for name in sources]
    command = [*compile_command(compiler), *options]
    # what the compiler says of this processor is in the name: a home may be shared
    macros = _run([*command, "-dM", "-E", "-x", "c", os.devnull])
    name = hashlib.sha256(b"\0".join([*texts, " ".join(command).encode(), macros]))
    kernels = Path(platformdirs.user_cache_dir("birthmark")) / "kernels"
    made_of = name.hexdigest()[:32]
    for library in kernels.glob(f"{made_of}-*.so"):
        if library.stem == f"{made_of}-{_hash(library)}":
            return library
        with contextlib.suppress(OSError):
            library.unlink()  # cut short or rotten: loading it would kill us
    kernels = kernels if _may_write(kernels) else _folder_of_process()
    with tempfile.TemporaryDirectory(dir=kernels) as workshop:
        for file, text in zip(sources, texts, strict=True):
            (Path(workshop) / file).write_bytes(text)
        made = Path(workshop) / "made.so"
        _run([*command, str(Path(workshop) / sources[0]), "-o", str(made), "-lm"])
        # a library that cannot be loaded ends a child, and not the process that trains
        _run([sys.executable, "-I", "-c", _LOAD, str(made)])
        with made.open("rb") as opened:
            os.fsync(opened.fileno())
        # two processes may compile it at once
        return made.replace(kernels / f"{made_of}-{_hash(made)}.so")


def _may_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


@cache
def _folder_of_process() -> Path:
    """A folder that nobody else can write to, and that goes with this process."""
    folder = tempfile.mkdtemp(prefix="birthmark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def _run(command: list[str]) -> bytes:
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    return done.stdout
