"""A folder as a disk may hold it after a loss of power, from what a writer did in it.

A disk need not know a name before its folder was synced: of the changes of names since
then any may be lost, the later ones before the earlier ones or not. Content has to be
synced before its file gets a name, or the file is cut short.
"""

import os
import shutil
from pathlib import Path

import numpy as np


class Disk:
    """Notes what is renamed and removed below a folder, and what is synced."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.synced = folder, set()
        self.changes = []  # (path, content or None), or (folder,): its names are there
        replace, unlink, fsync = Path.replace, Path.unlink, os.fsync

        def note_replace(path, target):
            found = os.stat(path)
            is_whole = found.st_ino in self.synced or not found.st_size
            self.changes.append((target, path.read_bytes() if is_whole else b"torn"))
            return replace(path, target)

        def note_unlink(path, missing_ok=False):
            if path.exists() and not path.name.startswith("."):
                self.changes.append((path, None))
            unlink(path, missing_ok)

        def note_fsync(file):
            path = Path(f"/proc/self/fd/{file}").readlink()
            if path.is_dir():
                self.changes.append((path,))
            self.synced.add(os.fstat(file).st_ino)

        monkeypatch.setattr(Path, "replace", note_replace)
        monkeypatch.setattr(Path, "unlink", note_unlink)
        monkeypatch.setattr("os.fsync", note_fsync)
        self._restore = monkeypatch.undo

    def close(self):
        """Note nothing more."""
        self._restore()

    def cut(self, count, rng):
        """Make the folder one that is left when power goes after so many changes."""
        shutil.rmtree(self.folder)
        done = self.changes[:count]
        for number, (path, *content) in enumerate(done):
            lasts = any(later == (path.parent,) for later in done[number:])
            if not content or not (lasts or rng.random() < 0.5):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if content[0] is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content[0])
