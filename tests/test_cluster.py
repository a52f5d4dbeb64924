"""A real Ray cluster of three nodes, one of which is lost (make test-cluster)."""

import threading
import time

import pytest

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


def test_a_cluster_of_this_machine_asks_for_a_token(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_gcs_server_port_wait_time_s", "300")  # a busy machine
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    executor = OnRay()
    try:
        (outcome,) = carry_out(executor, tmp_path, SPECS[:1])
        assert outcome.status == "done"
        import os

        assert os.environ["RAY_AUTH_MODE"] == "token"
        node = ray.nodes()[0]
        assert node["NodeManagerAddress"] == "127.0.0.1"
    finally:
        ray.shutdown()
