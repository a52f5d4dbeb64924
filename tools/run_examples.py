"""Run every script of `examples/`, each in an empty folder.

    python tools/run_examples.py [NAME ...]

Scripts under `examples/frameworks` are run when they are named (`frameworks/lora`).
A warning is an error, and so is more than a minute of processor time.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"
MOST_SECONDS = 60


def run(script: Path) -> float:
    """Seconds of processor time that a script takes; it must end well."""
    before = _used()
    command = [sys.executable, "-W", "error", str(script)]
    if script.parent != EXAMPLES:
        command = [sys.executable, str(script)]  # frameworks warn of themselves
    environment = os.environ | {"MPLBACKEND": "agg"}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(command, cwd=folder, env=environment, check=True)
    return _used() - before


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run those named, or all that need no framework, and say how long each took."""
    names = sys.argv[1:] or sorted(path.stem for path in EXAMPLES.glob("*.py"))
    took = {name: run(EXAMPLES / f"{name}.py") for name in names}
    for name, seconds in took.items():
        print(f"{name:24s}{seconds:6.1f} s of processor time")
    slow = [name for name, seconds in took.items() if seconds > MOST_SECONDS]
    if slow:
        sys.exit(f"over {MOST_SECONDS} s: {', '.join(slow)}")


if __name__ == "__main__":
    main()
