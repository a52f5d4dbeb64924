"""The live page's server: who may ask, what comes back, and what is read again."""

import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import socket
import time
import types
from dataclasses import asdict

import numpy as np
import pytest
import xarray as xr

import pages_store

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from birthmark.serve.rows import group_rows
from birthmark.serve.watch import Watch
from birthmark.shapes import StepMetrics
from birthmark.store import FollowedRun, RunDescription, claims, open_store
from pages_server import TOKEN, Server


@pytest.fixture
def served(tmp_path):
    pages_store.write_run(tmp_path / "runs", pages_store.make_spec(epochs=6))
    server = Server(tmp_path / "runs").start()
    yield server
    server.stop()


def get(server, path, cookie=""):
    """Status, headers and body of a path that nobody has put in order."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def cookie_of(server):
    status, headers, _ = get(server, f"/?token={TOKEN}")
    assert status == 303
    assert headers["location"] == "/"
    assert "HttpOnly" in headers["set-cookie"]
    return headers["set-cookie"].partition(";")[0]


def test_nothing_is_shown_without_the_token(served):
    name, _, value = cookie_of(served).partition("=")
    for path in ("/", "/page/main.js", "/api/runs", "/api/events", "/none"):
        for token in ("", "wrong", TOKEN[:-1], "%C3%A9"):
            status, headers, body = get(served, f"{path}?token={token}")
            assert status == 403, path
            assert b"birthmark serve" in body
            assert "set-cookie" not in headers
        assert get(served, path, f"{name}=wrong")[0] == 403
    status, headers, body = get(served, "/", f"{name}={value}")
    assert status == 200
    assert b"<main" in body
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_no_path_leaves_the_store(served):
    cookie = cookie_of(served)
    for path in (
        "/page/../app.py",
        "/page/x/../../app.py",
        "/page/..%2fapp.py",
        "/page/%2e%2e/app.py",
        "/../../../../etc/passwd",
        "/page/x/vendor%2FuPlot.min.css",
        "/api/runs/../curves",
        "/api/runs/..%2f..%2fetc/curves",
        "/api/runs/%2e%2e/weights",
        "/api/runs/*/curves",
        "/api/runs//etc/curves",
        "/api/runs/x/weights/" + "9" * 5000,  # no number that Python would read
    ):
        status, _, body = get(served, path, cookie)
        assert status == 404, path
        assert b"root:" not in body
        assert b"import" not in body
    index = get(served, "/", cookie)
    assert index[1]["cache-control"] == "no-store"
    (address,) = re.findall(rb"/page/[0-9a-f]{12}/serve.css", index[2])
    status, headers, _ = get(served, address.decode(), cookie)
    assert status == 200 and "immutable" in headers["cache-control"]
    other = get(served, "/page/another/serve.css", cookie)
    assert other[0] == 200 and other[1]["cache-control"] == "no-store"
    assert get(served, address.decode())[0] == 403


def test_curves_are_means_over_replicas_of_what_was_recorded(served, tmp_path):
    key = pages_store.make_spec(epochs=6).run_key
    cookie = cookie_of(served)
    _, _, body = get(served, f"/api/runs/{key}/curves", cookie)
    found = json.loads(body)
    records = open_store(tmp_path / "runs").records(key)
    assert found["x"] == list(range(7))
    assert found["metrics"]["train_loss"]["mean"][0] is None  # none was trained on
    for name in ("test_loss", "test_accuracy"):
        wanted = records[name].mean("replica")
        np.testing.assert_allclose(found["metrics"][name]["mean"], wanted, rtol=1e-4)
    distance = found["layers"]["relative_distance"]["of"]["hidden2"]["mean"]
    wanted = records.relative_distance.sel(layer="hidden2").mean("replica")
    np.testing.assert_allclose(distance, wanted, rtol=1e-4)
    assert list(found["layers"]["mark_auc"]["of"]) == ["hidden2"]

    _, _, body = get(served, f"/api/runs/{key}/weights/3?layer=hidden2", cookie)
    matrix = json.loads(body)
    kept = open_store(tmp_path / "runs").weights(key, 3)["hidden2"].w[0]
    assert matrix["shape"] == list(kept.shape)
    status, _, body = get(served, f"/api/runs/{key}/weights/3?layer=..", cookie)
    assert status == 404
    assert "it has hidden2" in json.loads(body)["error"]


def test_long_curves_are_thinned_and_keep_their_ends():
    from birthmark.serve.curves import summarize_curves

    steps = np.arange(10_000)
    records = xr.Dataset(
        {"loss": (("step", "replica"), steps[:, None] * [1.0, 3.0])},
        coords={"step": steps},
    )
    found = summarize_curves(records, "step")
    assert len(found["x"]) == 500
    assert (found["x"][0], found["x"][-1]) == (0, 9999)
    np.testing.assert_allclose(
        found["metrics"]["loss"]["mean"], 2 * np.array(found["x"]), rtol=1e-4
    )


def test_runs_are_read_again_only_when_they_change(tmp_path, monkeypatch):
    specs = [pages_store.make_spec(seed=seed, epochs=6) for seed in range(3)]
    for spec in specs[:2]:
        pages_store.write_run(tmp_path, spec)
    run = pages_store.write_run(tmp_path, specs[2], until=2, finish=False)
    store = open_store(tmp_path)
    read, plain = [], FollowedRun.records

    def counted(self):
        found = plain(self)
        read.append(found.attrs["run_key"])
        return found

    monkeypatch.setattr(FollowedRun, "records", counted)
    watch = Watch(store)
    assert set(watch.refresh(60)) == {spec.run_key for spec in specs}
    assert sorted(read) == sorted(spec.run_key for spec in specs)
    assert watch.refresh(60) == []
    pages_store.append(run, specs[2], 3)
    run.flush()
    assert watch.refresh(60) == [specs[2].run_key]
    assert len(read) == 4
    [row] = watch.rows([specs[2].run_key])
    assert (row["at"], row["until"], row["state"]) == (3, 6, "running")
    watch.judge(60)
    assert len(read) == 4
    assert watch.rows()[0]["outcomes"]["learners"] == "2 weak"  # after three epochs
    json.dumps(watch.rows(), allow_nan=False)


def test_what_runs_share_is_sent_once():
    base = {"key": "", "state": "done"}
    fields = [
        {"lr": 0.1, "widths": [8, 8], "flag": True, "none": None},
        {"lr": 0.3, "widths": [8, 8], "flag": True, "none": None},
        {"lr": 0.1, "widths": [8, 16], "flag": 1, "none": 0},
        {"lr": 0.1, "seed": 3},
        {},
    ]
    rows = [base | {"key": str(n), "fields": one} for n, one in enumerate(fields)]
    groups = group_rows(rows)
    assert [len(group["runs"]) for group in groups] == [3, 1, 1]
    assert groups[0]["runs"][1]["fields"] == {"lr": 0.3}
    joined = [
        run | {"fields": group["fields"] | run["fields"]}
        for group in groups
        for run in group["runs"]
    ]
    assert json.dumps(joined) == json.dumps(rows)  # equal numbers of other types too


def test_a_page_that_knows_all_rows_is_not_sent_them_again(served):
    cookie = cookie_of(served)
    end = time.monotonic() + 30
    while not any("learner" in run["outcomes"] for run in rows_of(served, cookie)[1]):
        assert time.monotonic() < end
        time.sleep(0.1)
    version, _ = rows_of(served, cookie)
    assert heard(served, cookie, version) == b""
    assert heard(served, cookie, "").startswith(b"event: all\ndata: {")
    assert heard(served, cookie, "of-another-server").startswith(b"event: all")


def rows_of(server, cookie):
    found = json.loads(get(server, "/api/runs", cookie)[2])
    return found["version"], [run for group in found["groups"] for run in group["runs"]]


def heard(server, cookie, known):
    """What the stream of events begins with, if anything comes within a second."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=1) as stream:
        path = f"/api/events?known={known}"
        stream.sendall(f"GET {path} HTTP/1.0\r\nCookie: {cookie}\r\n\r\n".encode())
        text = b""
        with contextlib.suppress(TimeoutError):
            while b"\n\n" not in text.partition(b"\r\n\r\n")[2]:
                text += stream.recv(1 << 16)
    assert text.startswith(b"HTTP/1.1 200")
    return text.partition(b"\r\n\r\n")[2]


def test_a_killed_trainer_shows_as_interrupted(tmp_path):
    with pages_store.trainer(tmp_path, 0, 0.1) as trainer:
        watch = Watch(open_store(tmp_path))
        watch.refresh(60)
        assert [row["state"] for row in watch.rows()] == ["running"]
        os.kill(trainer.pid, signal.SIGKILL)
    end = time.monotonic() + 10
    while watch.rows()[0]["state"] != "interrupted":
        assert time.monotonic() < end
        time.sleep(0.2)
        watch.refresh(60)
    assert watch.rows()[0]["at"] >= 0  # what was recorded is there


def test_a_writer_lost_with_its_machine_shows_as_interrupted(tmp_path, monkeypatch):
    run = pages_store.write_run(tmp_path, pages_store.make_spec(), 3, finish=False)
    run.close()
    now, count = [0.0], itertools.count()
    clock = types.SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(claims, "time", clock)
    watch = Watch(open_store(tmp_path))

    def state_after(seconds, *, is_alive):
        now[0] += seconds
        if is_alive:
            holder = claims.Holder("t", "node7", "another", 3, next(count))
            run.paths.claim.write_text(json.dumps(asdict(holder)))
        watch.refresh(60)
        return watch.rows()[0]["state"]

    for _ in range(4):
        assert state_after(15.0, is_alive=True) == "running"
    assert state_after(19.0, is_alive=False) == "running"
    assert state_after(2.0, is_alive=False) == "interrupted"
    assert state_after(1.0, is_alive=True) == "running"  # it was only out of reach


def test_runs_without_a_spec_have_steps_and_alarms_of_their_own(tmp_path):
    what = RunDescription("tracked", "mine", {"lr": 0.5})
    run = open_store(tmp_path, create=True).start_run(what)
    for step in range(60):
        loss = 2.0 * 0.9**step if step < 40 else 5.0
        loss = np.nan if step > 55 else loss
        run.append_metrics(StepMetrics(step * 10, {"loss": np.array([loss])}))
    run.flush()
    watch = Watch(open_store(tmp_path))
    watch.refresh(60)
    assert not watch.rows()[0]["alarms"]
    assert watch.judge(60) == [run.run_key]
    [row] = watch.rows()
    assert (row["name"], row["clock"], row["at"]) == ("mine", "step", 590)
    assert row["fields"] == {"lr": 0.5}
    assert [alarm["what"] for alarm in row["alarms"]] == [
        "jump of loss",
        "loss: NaN or Inf",
    ]
    assert abs(row["alarms"][0]["at"] - 400) <= 20
    assert row["alarms"][1]["at"] == 560


def test_a_damaged_run_is_listed_with_what_is_wrong(tmp_path):
    spec = pages_store.make_spec(epochs=6)
    pages_store.write_run(tmp_path, spec)
    (tmp_path / spec.run_key / "spec.toml").write_text("no spec")
    watch = Watch(open_store(tmp_path))
    watch.refresh(60)
    [row] = watch.rows()
    assert row["state"] == "damaged"
    assert "spec.toml" in row["problem"]


def test_the_command_refuses_in_one_line(birthmark, tmp_path):
    status, _, error = birthmark("serve", tmp_path / "none")
    assert status == 2
    assert "does not exist" in error
    open_store(tmp_path, create=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.listen()
        status, _, error = birthmark("serve", tmp_path, "--port", port)
    assert status == 2
    assert f"port {port}" in error
    assert len(error.splitlines()) == 1
