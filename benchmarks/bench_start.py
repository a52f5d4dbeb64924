"""How long the command line takes to answer, and the library to be imported.

Seconds of the processor of whole processes, interpreter included: the median of n, and
the least and the most. The exit status says whether one is above its limit.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BIRTHMARK = ["-m", "birthmark"]
STORE = """
import sys
import birthmark as bm
store = bm.open_store(sys.argv[1], create=True)
for width in range(8, 14):
    spec = bm.RunSpec(
        data={"name": "digits"},
        network={"widths": [width]},
        training={"epochs": 1},
        run={"replicas": 1, "device": "cpu"},
    )
    bm.run(spec, store.path)
"""
# what is started, and how many seconds of the processor it may take
LIMITS: dict[str, tuple[list[str], float]] = {
    "import birthmark": (["-c", "import birthmark"], 0.1),
    "birthmark --help": ([*BIRTHMARK, "--help"], 0.3),
    "birthmark --version": ([*BIRTHMARK, "--version"], 0.3),
    "birthmark experiment": ([*BIRTHMARK, "experiment"], 0.3),
    "birthmark status": ([*BIRTHMARK, "status", "--store", "STORE"], 0.3),
    "python -c pass": (["-c", "pass"], 0.1),
}


def time_process(arguments: list[str], bytecode: str) -> float:
    """Seconds of the processor that a child takes, from its start to its end.

    It finds its code compiled, as what pip installs is, from the second time on.
    """
    environment = os.environ | {"PYTHONPYCACHEPREFIX": bytecode}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments],
        stdout=subprocess.DEVNULL,
        check=True,
        env=environment,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Print a row a command, in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=9, help="of each; one more warms up")
    count = parser.parse_args().n
    with tempfile.TemporaryDirectory() as folder:
        store, bytecode = str(Path(folder, "runs")), str(Path(folder, "bytecode"))
        subprocess.run([sys.executable, "-c", STORE, store], check=True)
        seconds: dict[str, list[float]] = {name: [] for name in LIMITS}
        for _ in range(1 + count):
            for name, (arguments, _) in LIMITS.items():
                words = [store if word == "STORE" else word for word in arguments]
                seconds[name].append(time_process(words, bytecode))
    slow = []
    print(
        f"| n = {count} | median, s | least | most | at most |\n|---|--:|--:|--:|--:|"
    )
    for name, (_, limit) in LIMITS.items():
        found = sorted(seconds[name][1:])
        middle = statistics.median(found)
        slow += [name] if middle > limit else []
        print(f"| {name} | {middle:.3f} | {found[0]:.3f} | {found[-1]:.3f} | {limit} |")
    print(f"\nabove: {', '.join(slow) or 'none'}")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
