"""Distances beside those of other watchers of training, where these are installed."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))


@pytest.mark.filterwarnings("ignore")
def test_distances_are_those_of_cockpit_and_the_monitor():
    """Of one run of 40 steps; both compute in float32."""
    pytest.importorskip("cockpit")
    pytest.importorskip("torch_module_monitor")
    from bench_tracker_peers import compare_distances

    assert max(compare_distances()) < 1e-5
