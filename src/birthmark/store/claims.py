"""The claim of the one process that writes a run.

On one machine it is a lock, which the system drops when its process ends, however it
ends. Where a lock may not reach (another machine, a shared folder without locks) it is
a lease: a count in the file that goes up while the writer lives. Who wants the run
looks whether the count stands still for `EXPIRES_AFTER` beats. Counts are compared,
never clocks of two machines.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
import weakref
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from birthmark.errors import StoreError
from birthmark.store.locks import try_lock
from birthmark.whole_files import say_reason

BEAT_SECONDS = 4.0
EXPIRES_AFTER = 5  # beats
_SIZE = 512  # bytes of the file, always


class ClaimedError(StoreError):
    """Another writer is at work on a run."""


class LostClaimError(StoreError):
    """Another writer has taken a run over, since this one gave no sign of life."""


@dataclass(frozen=True)
class Holder:
    """Who has claimed a run, and how often it has given a sign of life."""

    token: str  # of this claim alone
    host: str
    machine: str  # differs between machines, and after each start of one
    pid: int
    count: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Claim:
    """A run claimed by this process; from `Claim.take`."""

    def __init__(self, path: Path, file: int, holder: Holder) -> None:
        self._path, self._file, self._holder = path, file, holder
        self._is_held = True
        self._beating = threading.Lock()

    @classmethod
    def take(cls, path: Path) -> Claim:
        """Claim the run whose file of claims this is.

        After a writer on another machine that has died this waits for its lease to
        expire, 20 seconds.

        Raises:
            ClaimedError: Another writer is at work.
            StoreError: The file cannot be written, or the claim not be kept up.
        """
        try:
            file = _open_and_lock(path)
        except OSError as error:
            message = f"cannot write {path}: {error.strerror}"
            raise StoreError(message) from error
        try:
            before = _read(file)
            if before is not None and before.machine != _machine():
                _wait_for_expiry(path, before)
            claim = cls(path, file, _myself())
        except BaseException:
            os.close(file)
            raise
        try:
            claim.beat()
            _keep_beating(claim)
        except (OSError, RuntimeError) as error:  # the disk is full; no thread is left
            claim.release()
            raise StoreError(f"cannot write {path}: {say_reason(error)}") from error
        return claim

    def check(self) -> None:
        """Make sure that the run is still claimed by this process.

        Raises:
            LostClaimError: It was released, or taken over.
        """
        holder = read_holder(self._path)
        if not self._is_held or holder is None or holder.token != self._holder.token:
            whose = f" by {holder}" if holder else ""
            raise LostClaimError(
                f"run {self._path.parent.name} has been taken over{whose}, since this "
                "process gave no sign of life for a while: start it again"
            )

    def beat(self) -> None:
        """Give a sign of life."""
        with self._beating:
            if self._is_held:
                self._holder = replace(self._holder, count=self._holder.count + 1)
                self._write()

    def release(self) -> None:
        """Let other writers have the run; does nothing the second time."""
        with self._beating:
            if not self._is_held:
                return
            self._is_held = False
            holder = read_holder(self._path)
            if holder is not None and holder.token == self._holder.token:
                with contextlib.suppress(OSError):
                    self._path.unlink()
            os.close(self._file)

    def forget(self) -> None:
        """Leave it to the process from which this one was forked."""
        self._beating = threading.Lock()
        if self._is_held:
            self._is_held = False
            os.close(self._file)

    def __del__(self) -> None:
        self.release()

    def _write(self) -> None:
        text = json.dumps(asdict(self._holder))
        os.lseek(self._file, 0, os.SEEK_SET)
        os.write(self._file, text.ljust(_SIZE).encode())


def read_holder(path: Path) -> Holder | None:
    """Who has claimed a run, or had when it was killed; None if nobody."""
    try:
        return _parse(path.read_bytes())
    except OSError:
        return None


def is_at_work(path: Path) -> bool:
    """Whether the writer that has claimed a run lives, as far as this machine knows.

    Of a writer on another machine only `Claim.take` finds out, by waiting, and
    `Leases`, by looking again.
    """
    holder = read_holder(path)
    return holder is not None and (holder.machine != _machine() or _is_locked(path))


def _is_locked(path: Path) -> bool:
    """Whether a process of this machine lives that has claimed the run."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not try_lock(file)
    finally:
        os.close(file)


class Leases:
    """Who watches runs sees also writers on other machines die: their count stands."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[Holder, float]] = {}  # and since when, here

    def is_at_work(self, path: Path) -> bool:
        """As the function of this name, but for leases that have expired meanwhile."""
        holder = read_holder(path)
        if holder is None or holder.machine == _machine():
            self._seen.pop(path, None)
            return holder is not None and _is_locked(path)
        now = time.monotonic()
        before, since = self._seen.get(path, (None, now))
        if holder != before:
            self._seen[path] = holder, now
            return True
        return now - since < EXPIRES_AFTER * BEAT_SECONDS


def _open_and_lock(path: Path) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not try_lock(file):
                raise _claimed(path, _read(file))
            # its last holder may have removed it before this one had the lock
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), path.stat()):
                    return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _wait_for_expiry(path: Path, before: Holder) -> None:
    for _ in range(EXPIRES_AFTER):
        time.sleep(BEAT_SECONDS)
        now = read_holder(path)
        if now != before:
            raise _claimed(path, now or before)


def _claimed(path: Path, holder: Holder | None) -> ClaimedError:
    who = str(holder) if holder else "another process"
    return ClaimedError(
        f"run {path.parent.name} is being written by {who}: wait for it, or stop it"
    )


def _read(file: int) -> Holder | None:
    os.lseek(file, 0, os.SEEK_SET)
    return _parse(os.read(file, _SIZE))


def _parse(content: bytes) -> Holder | None:
    try:
        return Holder(**json.loads(content))
    except (ValueError, TypeError):  # nobody yet, or one who is just writing
        return None


def _myself() -> Holder:
    return Holder(uuid.uuid4().hex, socket.gethostname(), _machine(), os.getpid())


@cache
def _machine() -> str:
    """The same for all processes that share the locks of one running system."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        return socket.gethostname()
    return boot.strip()


_claims: weakref.WeakSet[Claim] = weakref.WeakSet()  # of this process
_starting = threading.Lock()
_thread: threading.Thread | None = None


def _keep_beating(claim: Claim) -> None:
    global _thread
    with _starting:
        _claims.add(claim)
        if _thread is None:
            thread = threading.Thread(target=_beat, name="claims", daemon=True)
            thread.start()
            _thread = thread


def _beat() -> None:
    global _thread
    while True:
        time.sleep(BEAT_SECONDS)
        with _starting:
            living = list(_claims)
            if not living:
                _thread = None
                return
        for claim in living:
            with contextlib.suppress(OSError):  # the next write says what is wrong
                claim.beat()
        del living, claim


def _leave_to_parent() -> None:
    """A forked process has claimed nothing, and must not keep its parent's locks."""
    global _starting, _thread
    _starting, _thread = threading.Lock(), None
    for claim in list(_claims):
        claim.forget()
    _claims.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
