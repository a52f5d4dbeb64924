"""What tests of several rooms need."""

import os
import random
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# Before torch is loaded, and for child processes too: the networks of the tests are so
# small that threads only wait for each other, the more so beside another test run.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A script's jobs in the background ignore Ctrl-C, and so would what tests send it to.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# `make test` draws the same examples each time, so that it fails for a reason;
# `make test-slow` draws new ones, to find reasons.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile(
    "new", derandomize=False, deadline=None, print_blob=True, max_examples=1000
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what draws its examples, for `make test-slow` draws new ones."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("drawn")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, object, object]:
    """Where everything is installed, only hardware may be missing."""
    report = yield
    if os.environ.get("BIRTHMARK_SKIPS") == "fail" and report.outcome == "skipped":
        reason = str(report.longrepr)
        if not any(word in reason for word in ("CUDA", "GPU", "bfloat16")):
            report.outcome = "failed"
            report.longrepr = f"skipped where nothing may be: {reason}"
    return report


@pytest.fixture(autouse=True)
def same_numbers():
    """What a test draws without a seed is the same on every run of `make test` too."""
    if os.environ.get("HYPOTHESIS_PROFILE", "same") != "same":
        return
    seed = 201202550  # none that a test takes itself: two draws would be equal
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


@pytest.fixture
def real_data() -> Path:
    """The folder with the real data sets, named in BIRTHMARK_DATA."""
    named = os.environ.get("BIRTHMARK_DATA", "").split(os.pathsep)[0]
    if not named:
        pytest.skip("needs the real data sets: name their folder in BIRTHMARK_DATA")
    return Path(named)


@pytest.fixture
def rng():
    """Numbers that do not depend on which tests ran before."""
    import numpy as np  # counts its threads when it is loaded

    return np.random.default_rng(0)


@pytest.fixture
def own_tables():
    """Rules, measurements and figures that a test registers are gone after it."""
    from birthmark.extensions import REGISTERED
    from birthmark.figures.catalogue import FIGURES
    from birthmark.measurements import MEASUREMENTS
    from birthmark.network import INITIALIZATIONS

    tables = (FIGURES, INITIALIZATIONS, MEASUREMENTS, REGISTERED)
    before = [dict(table) for table in tables]
    yield
    for table, lines in zip(tables, before, strict=True):
        table.clear()
        table.update(lines)


@pytest.fixture
def birthmark(monkeypatch, capsys):
    """Run the command line in this process: exit status, standard output, error."""
    from birthmark import cli

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["birthmark", *map(str, arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as exit_:
            status = exit_.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call
