"""Peak memory of a run by phase, beside what was estimated from its spec.

Ten replicas of 1024-W-W-369 on HASYv2 (or random pixels of its shape, where it is not
to be had): everything that `birthmark run` does, with 20 steps for an epoch. Each width
is a process of its own; peaks are those of Linux (VmHWM), in 10^6 bytes.
"""

import argparse
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTHS = (100, 500, 1000)
STEPS = 20


class Phases:
    """The peaks of this process, phase by phase."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, float]] = []

    def end(self, name: str) -> None:
        """Note the peak since the last call, and what is left of it."""
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        peak, now = (
            int(re.findall(rf"{key}:\s+(\d+) kB", status)[0]) * 1024 / 1e6
            for key in ("VmHWM", "VmRSS")
        )
        self.rows.append((name, peak, now))
        Path("/proc/self/clear_refs").write_text(
            "5", encoding="utf-8"
        )  # the peak begins anew


def measure_width(width: int) -> None:
    """Print the table of one width, from within a process of its own."""
    phases = Phases()
    phases.end("interpreter")
    import numpy as np

    import birthmark as bm
    from birthmark.sweeps.stacks import Observer
    from birthmark.training import Training

    spec = bm.RunSpec(
        data={"name": "hasyv2"},
        network={"widths": [width, width]},
        training={"epochs": 2},
        run={"replicas": 10, "device": "cpu"},
    )
    store = bm.open_store(tempfile.mkdtemp(), create=True)
    phases.end("libraries")
    try:
        dataset = bm.load_dataset(spec.data)
    except bm.BirthmarkError:
        draws = np.random.default_rng(0)
        x = draws.integers(0, 256, (168_233, 1024), dtype=np.uint8)
        y = draws.integers(0, 369, 168_233)
        parts = (x[:151_241], y[:151_241], x[151_241:], y[151_241:])
        dataset = bm.Dataset("random pixels", *parts, 369, (32, 32), 255)
    phases.end(f"data: {dataset.name}")
    folder = store.start_run(spec)
    folder.load_checkpoint()
    training = Training.from_spec(spec, dataset)
    observer = Observer(spec, training, dataset, folder)
    phases.end(f"weights ({training.path_name})")
    metrics = training.metrics_at_start()
    phases.end("evaluation")
    observer.look(metrics)
    phases.end("first record")
    training.advance(STEPS)
    phases.end(f"{STEPS} steps")
    training.epoch, training.batch = 1, 0
    observer.look(training.metrics_at_start())
    phases.end("second record")
    arrays, position = training.state_dict()
    folder.save_checkpoint({**arrays, **observer.state_dict()}, position)
    phases.end("checkpoint")
    estimate = bm.estimate_memory(spec)
    peak = max(peak for _, peak, _ in phases.rows)
    print("| phase | peak, MB | after it, MB |\n|---|--:|--:|")
    for name, high, now in phases.rows:
        print(f"| {name} | {high:.0f} | {now:.0f} |")
    print(
        f"\nPeak {peak:.0f} MB, estimated {estimate.total / 1e6:.0f} MB "
        f"({estimate.total / 1e6 / peak - 1:+.0%}).\n"
    )


def main() -> None:
    """Measure each width; or one, in the process that does it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("peaks of a phase can be read on Linux only")
    if arguments.only:
        measure_width(arguments.only)
        return
    print(f"Python {platform.python_version()}, {platform.platform()}\n")
    for width in arguments.widths:
        print(f"Width {width}\n", flush=True)
        command = [sys.executable, __file__, "--only", str(width)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
