"""A real Ray cluster of three nodes, one of which is lost (make test-cluster)."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from birthmark.errors import HardwareError
from birthmark.spec import RunSpec
from birthmark.store import open_store
from birthmark.sweeps import Here, OnRay, make_plan
from test_crash import assert_same, contents

pytestmark = pytest.mark.cluster
ray = pytest.importorskip("ray")

SPECS = [
    RunSpec(
        data={"name": "digits"},
        network={"widths": [24, 24]},
        training={"epochs": 60, "lr": 0.2},
        run={"replicas": 2, "seed": seed},
        record={"weights": [2], "distributions": [0]},
    )
    for seed in range(8)
]


def carry_out(executor, path, specs=SPECS):
    plan = make_plan(specs, open_store(path, create=True), threads=1)
    return [*executor.carry_out(plan.tasks, path, lambda standing: None)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed")
    assert {one.status for one in carry_out(Here(), path)} == {"done"}
    return contents(path)


@pytest.fixture
def cluster(monkeypatch):
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    options = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    made = Cluster(
        initialize_head=True, head_node_args={**options, "include_dashboard": False}
    )
    made.nodes_beside = [made.add_node(**options) for _ in range(2)]
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_node_is_lost_and_all_runs_end_as_on_one_machine(
    cluster, undisturbed, tmp_path
):
    executor = OnRay(cluster.address)
    assert executor.workers == 3

    def lose():
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if sum(1 for _ in tmp_path.glob("*/manifest.json")) >= 3:
                break
            time.sleep(0.05)
        cluster.remove_node(cluster.nodes_beside[0], allow_graceful=False)

    thread = threading.Thread(target=lose)
    thread.start()
    outcomes = carry_out(executor, tmp_path)
    thread.join()
    assert sorted(one.key for one in outcomes) == sorted(s.run_key for s in SPECS)
    assert {one.status for one in outcomes} == {"done"}
    assert_same(tmp_path, undisturbed)


def test_two_sweeps_into_one_store(cluster, undisturbed, tmp_path):
    found = {}

    def sweep(name, specs):
        found[name] = carry_out(OnRay(cluster.address), tmp_path, specs)

    threads = [
        threading.Thread(target=sweep, args=("first", SPECS)),
        threading.Thread(target=sweep, args=("second", SPECS[::-1])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.status for many in found.values() for one in many} == {"done"}
    assert_same(tmp_path, undisturbed)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://[::1]:1", "nowhere.test:1"])
def test_nobody_at_an_address_is_said_at_once(address):
    began = time.monotonic()
    with pytest.raises(HardwareError, match=f"a cluster at {re.escape(address)}: "):
        OnRay(address).carry_out([], Path("nowhere"), print).__next__()
    assert time.monotonic() - began < 30


def test_a_cluster_of_this_machine_asks_for_a_token(cluster, tmp_path):
    """Though another one runs here, which an address would be asked for.

    In a process of its own: Ray reads its rules when it is imported.
    """
    program = """
import os, sys
from pathlib import Path
from birthmark.spec import RunSpec
from birthmark.store import open_store
from birthmark.sweeps import OnRay, make_plan
spec, store = RunSpec.from_toml(sys.argv[1]), Path(sys.argv[2])
plan = make_plan([spec], open_store(store, create=True), threads=1)
(outcome,) = OnRay().carry_out(plan.tasks, store, lambda standing: None)
import ray
node = ray.nodes()[0]["NodeManagerAddress"]
print(outcome.status, os.environ["RAY_AUTH_MODE"], node)
"""
    (tmp_path / "run.toml").write_text(SPECS[0].to_toml())
    command = [sys.executable, "-c", program, tmp_path / "run.toml", tmp_path / "runs"]
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
        "RAY_gcs_server_port_wait_time_s": "300",  # on a busy machine
    }
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert done.stdout.split()[-3:] == ["done", "token", "127.0.0.1"]
