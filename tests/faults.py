"""A function whose process dies right before a change of files of a given number."""

import os
import signal
from pathlib import Path


def killed_at(change, function, *arguments):
    """Carry out a function until a SIGKILL before its change of this number."""
    changes = 0

    def dying(change_file):
        def call(path, *more, **options):
            nonlocal changes
            changes += change_file is not Path.unlink or path.exists()
            if changes == change:
                os.kill(os.getpid(), signal.SIGKILL)
            return change_file(path, *more, **options)

        return call

    for name in ("replace", "unlink", "mkdir"):
        setattr(Path, name, dying(getattr(Path, name)))
    os.fsync = lambda file: None  # slow, and a kill loses nothing of the page cache
    function(*arguments)
    os._exit(0)
