"""What a short trial has found on a processor, kept beside what was compiled for it."""

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import platformdirs

from birthmark.training.devices import describe_device


def keep_trial(
    kind: str,
    words: Sequence[str],
    find: Callable[[], str],
    accept: Callable[[str], bool],
) -> str:
    """What the first trial of its kind has found on a processor like this one.

    A trial in each process would let a run depend on what else the machine was doing.
    Delete the folder `trials` of the user's cache to try anew.

    Args:
        kind: What is chosen.
        words: What it depends on besides the processor.
        find: The trial.
        accept: Whether a text is what a trial finds; after another one it is made anew.
    """
    text = "\n".join([kind, describe_device("cpu"), *words])
    name = f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    kept = Path(platformdirs.user_cache_dir("birthmark")) / "trials" / name
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        if kept.exists() and not accept(kept.read_text(encoding="utf-8")):
            kept.unlink()
        # where many begin at the same time, all take what the first one has found
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            if not kept.exists():
                (Path(folder) / name).write_text(find(), encoding="utf-8")
                with contextlib.suppress(FileExistsError):
                    kept.hardlink_to(Path(folder) / name)
        return kept.read_text(encoding="utf-8")
    return find()
