"""A folder as a disk may hold it after a loss of power, from what a writer did in it.

Of the names that changed since their folder was synced a disk may know any: the worst
is that it knows the last and none before. Content has to be synced before its file has
a name, or the file is cut short.
"""

import os
import shutil
from pathlib import Path


class Disk:
    """Notes what is renamed, removed and synced below a folder, until `close`."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.close = folder, monkeypatch.undo
        self.changes = []  # (path, content or None), or (folder,): its names are there
        replace, unlink, synced = Path.replace, Path.unlink, set()

        def note_replace(path, target):
            found = path.stat()
            is_whole = found.st_ino in synced or not found.st_size
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
            synced.add(os.fstat(file).st_ino)

        monkeypatch.setattr(Path, "replace", note_replace)
        monkeypatch.setattr(Path, "unlink", note_unlink)
        monkeypatch.setattr("os.fsync", note_fsync)

    def cuts_after(self, stem):
        """When a file whose name begins so had just got its name."""
        for count, (path, *content) in enumerate(self.changes, start=1):
            if content and content[0] is not None and path.name.startswith(stem):
                yield count

    def cut(self, count):
        """Make the folder one that is left when power goes after so many changes."""
        shutil.rmtree(self.folder)
        done = self.changes[:count]
        for number, (path, *content) in enumerate(done, start=1):
            lasts = number == count or (path.parent,) in done[number:]
            if not content or not lasts:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if content[0] is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content[0])
