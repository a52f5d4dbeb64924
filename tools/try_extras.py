"""Try the library's wheel with each extra, in a fresh environment for each.

    python tools/try_extras.py dist [EXTRA ...]

installs what `pip install 'birthmark[EXTRA]'` would, imports what the extra is for, and
prints a line an extra; the exit status is 1 if one cannot be installed or used.
"""

import os
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALL = tomllib.loads((ROOT / "pyproject.toml").read_text())
USES = {
    "train": "import birthmark as bm; bm.train, bm.Tracker",
    "mp4": "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())",
    "ray": "import ray; ray.cluster_resources",
    "export": "import h5netcdf, zarr, birthmark.store",
    "sql": "import duckdb; duckdb.sql('select 1')",
    "lightning": "from birthmark.integrations.lightning import TrackerCallback",
    "transformers": "from birthmark.integrations.transformers import TrackerCallback",
    "keras": "from birthmark.integrations.keras import TrackerCallback",
    "jax": "from birthmark.integrations.jax import PytreeTracker",
    "peft": "from birthmark.integrations.peft import effective_weights",
    "tensorboard": "from birthmark.integrations.tensorboard import TensorBoardSink",
    "wandb": "from birthmark.integrations.wandb import WandbSink",
    "trackio": "from birthmark.integrations.trackio import TrackioSink",
    "mlflow": "from birthmark.integrations.mlflow import MlflowSink",
}


def try_extra(wheel: Path, extra: str, constraint: str) -> str:
    """Install it and use it; what went wrong, or nothing."""
    with tempfile.TemporaryDirectory(dir=wheel.parent) as place:
        venv.create(Path(place) / "venv", with_pip=True)
        python = str(Path(place) / "venv" / "bin" / "python")
        limits = Path(place) / "constraints.txt"
        limits.write_text(constraint)
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        wanted = f"{wheel}[{extra}]"
        environment = {**os.environ, "KERAS_BACKEND": "torch"}
        for command in (
            # what is imported once need not be compiled to files
            [*pip, "install", "--no-compile", wanted, "--constraint", str(limits)],
            [python, "-W", "error::ImportWarning", "-c", USES[extra]],
            [str(Path(python).parent / "birthmark"), "--version"],
        ):
            done = subprocess.run(
                command, cwd=place, capture_output=True, text=True, env=environment
            )
            if done.returncode:
                return (done.stderr.strip().splitlines() or ["no word"])[-1]
    return ""


def main() -> int:
    """Each extra that was named, or all."""
    folder, *names = sys.argv[1:]
    extras = ALL["project"]["optional-dependencies"]
    assert set(extras) == set(USES), set(extras) ^ set(USES)
    wheel = next(Path(folder).resolve().glob("birthmark-*.whl"))
    # the build of torch that the lock has: the newest brings gigabytes for GPUs
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    constraint = next(line for line in lock if line.startswith("torch=="))
    failures = 0
    for extra in names or extras:
        start = time.monotonic()
        wrong = try_extra(wheel, extra, constraint)
        failures += bool(wrong)
        took = time.monotonic() - start
        print(f"{extra:<14}{wrong or 'works'} ({took:.0f} s)", flush=True)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
