"""Functions in processes of their own that are stopped, and started anew until done."""

import functools
import multiprocessing
import os
import signal

# what training imports late too: torch.func takes seconds for the last one
PRELOADED = ["birthmark.sweeps.stacks", "pytest", "torch._dynamo"]


@functools.cache
def _context():
    """Processes are forked from one that has all loaded, and no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def start(function, *arguments, **options):
    """A process that carries out a function, at its first line."""
    ready = _context().Event()
    process = _context().Process(
        target=_begin, args=(ready, function, arguments, options)
    )
    process.start()
    assert ready.wait(120)
    return process


def _begin(ready, function, arguments, options):
    ready.set()
    try:
        function(*arguments, **options)
    except KeyboardInterrupt:
        os._exit(130)
    os._exit(0)  # what is left open is left so, as when killed


def run_and_kill(function, arguments, kill, begun, waits):
    """Send a signal to each start so long after it has begun, then let it end.

    Args:
        function: Begins or goes on; it stands at the top of a module.
        arguments: Of it.
        kill: The signal.
        begun: Says whether there is anything to go on with.
        waits: Seconds, of all starts but the last.
    """
    kills = 0
    for wait in [*waits, None]:
        process = start(function, *arguments)
        while wait is not None and process.is_alive() and not begun():
            process.join(0.002)
        if wait is not None:
            process.join(wait)
        if wait is not None and process.is_alive():
            os.kill(process.pid, kill)
        process.join()
        if process.exitcode == 0:
            break
        # before anything is claimed a signal is obeyed at once
        assert process.exitcode in (
            (-kill,) if kill == signal.SIGKILL else (-kill, 130)
        )
        kills += 1
    assert process.exitcode == 0 and kills > 0
