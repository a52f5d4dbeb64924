"""Time of one training step a replica: the engine against what one would use instead.

Everybody trains the same network with two hidden layers on random pixels of the shape
of a data set: batch 128, float32, plain SGD, the clipped loss, running loss and
accuracy. Each trainer is a process of its own that is asked in turn, round after
round, so that a ratio compares neighbours in time. The rates of large products and of
a copy are measured in every round as well.

    make bench          # ours and plain torch
    make bench-peers    # and Keras, JAX, torch.func, in an environment of their own
"""

import argparse
import datetime
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from throughput.case import Case
from throughput.check import check_all
from throughput.figure import draw_growth
from throughput.process import Process
from throughput.rounds import Timings, steps_at, time_case, time_growth
from throughput.table import (
    describe_machine,
    format_table,
    write_header,
    write_markdown,
    write_row,
)
from throughput.trainer import ENTRIES, OURS, PLAIN, REFERENCE

WIDTHS = {"hasyv2": [10, 50, 100, 250, 500, 1000], "mnist": [100, 500]}
GROWTH_ROUNDS = 2
PEERS_PYTHON = Path(__file__).parent.parent / ".venv-peers" / "bin" / "python"


def main() -> None:
    """Print the table as it grows, and keep it where asked."""
    arguments = parse_arguments()
    with ExitStack() as stack:
        rates = start_process("rates", arguments, stack)
        processes = {n: start_process(n, arguments, stack) for n in arguments.peers}
        if arguments.check:
            print("\n".join(check_all(processes)), end="\n\n", flush=True)
        versions = {
            name: p.ask("describe")["versions"] for name, p in processes.items()
        }
        print(f"{describe_machine()} {arguments.threads} threads for everybody.\n")
        results = time_all(arguments, processes, rates)
        growth = {}
        if arguments.growth:
            growth = time_growth(processes[OURS], GROWTH_ROUNDS, arguments.steps)
    if arguments.out:
        figure = arguments.out.with_suffix(".png") if growth else None
        if figure:
            draw_growth(results, growth, figure)
        text = write_markdown(
            results,
            versions,
            date=datetime.date.today().isoformat(),
            threads=arguments.threads,
            figure=figure.name if figure else "",
        )
        arguments.out.write_text(text)


def parse_arguments() -> argparse.Namespace:
    """The options, with what they must be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--widths", type=int, nargs="+", help="of the hidden layers; all unless said")
    add("--rounds", type=int, default=5, help="turns of everybody (default 5)")
    add("--steps", type=int, default=128, help="of a turn up to width 100")
    add("--peers", nargs="+", default=PLAIN, metavar="NAME", choices=["all", *ENTRIES])
    add("--out", type=Path, help="Markdown file to write as well")
    add("--growth", action="store_true", help="time by replicas and data; a figure")
    add("--check", action="store_true", help="first see that all train the same")
    add("--threads", type=int, default=count_processors(), help="of everybody")
    arguments = parser.parse_args()
    if min(arguments.rounds, arguments.steps, arguments.threads) < 1:
        parser.error("--rounds, --steps and --threads must be at least 1")
    if min(arguments.widths or [1]) < 1:
        parser.error("--widths must be at least 1")
    if arguments.out and not arguments.out.parent.is_dir():
        parser.error(f"--out: there is no folder {arguments.out.parent}")
    if "all" in arguments.peers:
        arguments.peers = list(ENTRIES)
    # ours is what the others are compared with, the reference what they are checked by
    arguments.peers = [
        name for name in ENTRIES if name in {OURS, REFERENCE, *arguments.peers}
    ]
    own = [name for name in arguments.peers if ENTRIES[name].own_environment]
    if own and not PEERS_PYTHON.exists():
        parser.error(f"{own[0]} needs an environment of its own: make bench-peers")
    return arguments


def count_processors() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def start_process(
    name: str, arguments: argparse.Namespace, stack: ExitStack
) -> Process:
    """Start it in its environment; the stack ends it."""
    entry = ENTRIES.get(name)
    own = entry is not None and entry.own_environment
    python = PEERS_PYTHON if own else Path(sys.executable)
    process = Process(name, python, arguments.threads)
    stack.callback(process.close)
    return process


def time_all(
    arguments: argparse.Namespace, processes: dict[str, Process], rates: Process
) -> list[Timings]:
    """Time every case, and print its row when it is done."""
    print(format_table(write_header(processes), []), flush=True)
    results = []
    for case in choose_cases(arguments.widths, arguments.steps):
        results.append(time_case(case, processes, rates, arguments.rounds))
        print("| " + " | ".join(write_row(results[-1])) + " |", flush=True)
    return results


def choose_cases(widths: Sequence[int] | None, steps: int) -> list[Case]:
    """HASYv2 at the widths asked for, MNIST at those of its own among them."""
    mnist = [width for width in WIDTHS["mnist"] if widths is None or width in widths]
    chosen = {"hasyv2": widths or WIDTHS["hasyv2"], "mnist": mnist}
    return [
        Case(shape, width, steps_at(width, steps))
        for shape, some in chosen.items()
        for width in some
    ]


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"bench_training: {error}")
