"""The names of the files in a store and in the folder of a run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

KEY_DIGITS = 16
LEAST_RUNS = 64  # of a store with an index: below them it would save nothing
_RUN_KEY = re.compile(f"[0-9a-f]{{{KEY_DIGITS}}}")
_SEGMENT = re.compile(r"([a-z]+)-(\d{6,})\.parquet")
STORE_FILE = "birthmark-store.json"  # says which version of the format a store has


@dataclass(frozen=True)
class RunPaths:
    """Where the files of a run lie."""

    folder: Path

    @property
    def spec(self) -> Path:
        """Every field of the spec."""
        return self.folder / "spec.toml"

    @property
    def description(self) -> Path:
        """Kind, name, fields and replicas of a run that follows no spec."""
        return self.folder / "description.json"

    @property
    def is_described(self) -> bool:
        """Whether it is said what the run is: the first thing that its writer does."""
        return self.spec.exists() or self.description.exists()

    @property
    def start(self) -> Path:
        """The initial configuration, where a run cannot draw it again."""
        return self.folder / "start.safetensors"

    @property
    def schema(self) -> Path:
        """Dims, coordinates, units and long names of the records."""
        return self.folder / "schema.json"

    @property
    def checkpoint(self) -> Path:
        """All that is needed to go on exactly."""
        return self.folder / "checkpoint.safetensors"

    @property
    def manifest(self) -> Path:
        """Versions, commit, device, wall time, data checksum."""
        return self.folder / "manifest.json"

    @property
    def contents(self) -> Path:
        """Names and checksums of all files of a run that is done."""
        return self.folder / "contents.json"

    @property
    def claim(self) -> Path:
        """There while a writer is at work, locked by it."""
        return self.folder / "claim"

    @property
    def done(self) -> Path:
        """Written last."""
        return self.folder / "done"

    @property
    def stopped(self) -> Path:
        """There while no writer is at work, if the last one left on purpose."""
        return self.folder / "stopped"

    def weights(self, epoch: int) -> Path:
        """The weights of one epoch."""
        return self.folder / f"weights-{epoch:06d}.safetensors"

    def weights_epochs(self) -> list[int]:
        """The epochs whose weights are kept."""
        matches = (
            re.fullmatch(r"weights-(\d{6,})\.safetensors", path.name)
            for path in self.folder.iterdir()
        )
        return sorted(int(match[1]) for match in matches if match)


def is_run_key(name: str) -> bool:
    """Whether a folder of this name may be a run."""
    return _RUN_KEY.fullmatch(name) is not None


def run_keys(store: Path) -> list[str]:
    """The keys of the runs in a store.

    A folder with nothing but a claim is one whose writer was killed in its first
    moment, or has just begun.
    """
    return sorted(
        path.name
        for path in store.iterdir()
        if is_run_key(path.name) and holds_run(path)
    )


def holds_run(folder: Path) -> bool:
    """Whether anything of a run but a claim is in its folder."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:  # a run that is written has many files
        names = (entry.name for entry in entries)
        return any(name != "claim" and not name.startswith(".") for name in names)


def list_files(folder: Path) -> set[str]:
    """The names of the files in the folder of a run; none if it cannot be listed."""
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - thousands, looked at often
    except OSError:
        return set()


def find_segments(names: Iterable[str], table: str) -> dict[int, str]:
    """The segments of a table among these files, by the epoch at which each ends.

    A file of another name, as a program that copies folders leaves it, is none.
    """
    ours = [name for name in names if name.startswith(f"{table}-")]
    matches = map(_SEGMENT.fullmatch, sorted(ours))
    return {int(match[2]): match[0] for match in matches if match}


def last_epoch(folder: Path, table: str) -> int:
    """The epoch at which the newest segment ends; -1 if there is none."""
    return max(find_segments(list_files(folder), table), default=-1)
