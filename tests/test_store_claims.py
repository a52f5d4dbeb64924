"""One writer at a time: among threads, processes, and machines that share a folder."""

import contextlib
import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

import store_writer as writer
from birthmark.errors import StoreError
from birthmark.store import ClaimedError, LostClaimError, open_store
from birthmark.store import claims as claims_module
from birthmark.store.claims import Claim
from birthmark.store.locks import try_lock
from store_writer import make_spec

SPEC = make_spec()


def hold(path: Path, ready: object) -> None:
    run = open_store(path, create=True).start_run(SPEC)
    run.load_checkpoint()
    run.append_metrics(writer.metrics(0))
    run.save_checkpoint({}, {})
    ready.set()  # type: ignore[attr-defined]
    time.sleep(60)


def test_a_killed_writer_leaves_no_claim_and_a_living_one_is_named(
    tmp_path: Path,
) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)
    store = open_store(tmp_path)
    with pytest.raises(ClaimedError, match=f"written by process {process.pid} on"):
        store.start_run(SPEC)
    assert store.runs()["state"].tolist() == ["running"]
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert store.runs()["state"].tolist() == ["unfinished"]
    began = time.monotonic()
    run = store.start_run(SPEC)
    assert time.monotonic() - began < 2  # no lease to wait for on one machine
    assert run.load_checkpoint() is not None
    run.close()
    assert not run.paths.claim.exists()


def test_of_many_threads_each_run_has_one_writer_and_no_file_is_lost(
    tmp_path: Path,
) -> None:
    """In a new store, which all of them make at once."""
    refused, failed = [], []

    def write() -> None:
        try:
            writer.write_run(tmp_path, SPEC)
        except ClaimedError as error:
            refused.append(error)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    store = open_store(tmp_path)
    assert store.is_done(SPEC.run_key)
    assert store.records(SPEC.run_key)["epoch"].to_numpy().tolist() == [*range(12)]


def another_machine(path: Path, count: int) -> None:
    holder = {"token": "t", "host": "node7", "machine": "m7", "pid": 3, "count": count}
    with path.open("r+b" if path.exists() else "wb", buffering=0) as file:
        file.write(json.dumps(holder).ljust(512).encode())  # at once


def test_the_lease_of_another_machine_is_counted_and_not_clocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims_module, "BEAT_SECONDS", 0.05)
    claim = tmp_path / "claim"
    another_machine(claim, count=4)
    os.utime(claim, (0, 0))  # by a clock that is set back it would be long expired

    beats = iter(range(5, 1000))
    stop = threading.Event()

    def live() -> None:
        while not stop.wait(0.02):
            another_machine(claim, next(beats))

    thread = threading.Thread(target=live)
    thread.start()
    try:
        with pytest.raises(ClaimedError, match="process 3 on node7"):
            Claim.take(claim)
    finally:
        stop.set()
        thread.join()
    taken = Claim.take(claim)  # its count stands still
    taken.check()
    taken.release()


def test_a_writer_that_was_taken_over_writes_nothing_more(tmp_path: Path) -> None:
    run = open_store(tmp_path, create=True).start_run(SPEC)
    run.load_checkpoint()
    run.append_metrics(writer.metrics(0))
    another_machine(run.paths.claim, count=9)
    before = sorted(path.name for path in run.paths.folder.iterdir())
    with pytest.raises(LostClaimError, match="taken over by process 3 on node7"):
        run.save_checkpoint({}, {})
    assert sorted(path.name for path in run.paths.folder.iterdir()) == before
    run.close()
    assert run.paths.claim.exists()  # it is not this writer's to remove


def test_what_does_not_follow_the_records_is_refused_whatever_locks_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path, create=True)
    first = store.start_run(SPEC)
    first.load_checkpoint()
    first.append_metrics(writer.metrics(0))
    first.save_checkpoint({}, {})
    monkeypatch.setattr(Claim, "check", lambda claim: None)
    first.close()
    second = store.start_run(SPEC)
    second.load_checkpoint()
    for run in (first, second):
        run.append_metrics(writer.metrics(1))
    first.save_checkpoint({}, {})
    with pytest.raises(StoreError, match="another writer has been at work"):
        second.save_checkpoint({}, {})


def test_a_file_that_its_last_holder_removes_just_then_is_claimed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "claim"
    path.touch()

    def lock_too_late(file: int) -> bool:
        monkeypatch.undo()
        path.unlink()
        return try_lock(file)

    monkeypatch.setattr(claims_module, "try_lock", lock_too_late)
    claim = Claim.take(path)
    claim.check()
    claim.release()


def fail_to_keep_a_claim_up(path: Path) -> None:
    threading.stack_size(2**46)
    with pytest.raises(StoreError, match=r"cannot write .*start new thread"):
        Claim.take(path)
    assert not path.exists()
    threading.stack_size(0)
    claims_module.BEAT_SECONDS = 0.01
    claim = Claim.take(path)
    ends = time.monotonic() + 20
    while claim._holder.count < 3 and time.monotonic() < ends:
        time.sleep(0.01)
    assert claim._holder.count >= 3
    os._exit(0)


def test_what_cannot_be_kept_up_is_not_claimed_and_the_next_claim_is(
    tmp_path: Path,
) -> None:
    """No thread can be started; in a child, where none beats yet."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            fail_to_keep_a_claim_up(tmp_path / "claim")
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_forked_process_does_not_keep_the_claim_of_its_parent(tmp_path: Path) -> None:
    claim = Claim.take(tmp_path / "claim")
    (read, write), (begun, begin) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(begin, b"x")
        os.read(read, 1)  # lives on while the parent gives the claim away
        os._exit(0)
    os.read(begun, 1)
    os.close(claim._file)  # as when it is killed: the file of the claim stays
    claim._is_held = False
    Claim.take(tmp_path / "claim").release()
    os.write(write, b"x")
    assert os.waitpid(child, 0)[1] == 0
    for end in (read, write, begun, begin):
        os.close(end)
