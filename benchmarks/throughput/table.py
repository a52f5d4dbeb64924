"""The results in words and numbers: one table, and what it stands on."""

import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from throughput.rates import COPIED, FLOAT32_ERROR, SIZE
from throughput.rounds import Timings, best_rate
from throughput.trainer import ENTRIES, OURS


def write_row(timings: Timings) -> list[str]:
    """One line of the table: ours with its shares, then everybody else over ours."""
    cells = [timings.case.name]
    for name, values in timings.milliseconds.items():
        cell = f"{_median(values)} ±{_half_spread(values):.0%}"
        if name == OURS:
            cells += [cell, _share(timings, name, False), _share(timings, name, True)]
        else:
            ratios = timings.ratios(name)
            cells.append(f"{cell} ({statistics.median(ratios):.2f}x)")
    return cells


def write_header(names: Iterable[str]) -> list[str]:
    """The heads of the columns of `write_row`."""
    head = ["shape, width"]
    for name in names:
        head.append(f"{name}, ms")
        if name == OURS:
            head += ["of default rate", "of best rate"]
    return head


def write_markdown(
    results: Sequence[Timings],
    versions: Mapping[str, str],
    *,
    date: str,
    threads: int,
    figure: str,
) -> str:
    """The dated page: machine, table, shares of everybody, protocol."""
    names = list(results[0].milliseconds)
    rounds = len(results[0].machine)
    rows = [write_row(timings) for timings in results]
    shares = [[t.case.name, *(_share(t, n, True) for n in names)] for t in results]
    about = [
        [
            name,
            versions[name],
            str(ENTRIES[name].replicas),
            ENTRIES[name].about,
        ]
        for name in names
    ]
    parts = [
        f"# One training step, side by side: {date}",
        f"{describe_machine()}\nEverybody has {threads} threads: OMP_NUM_THREADS, "
        "MKL_NUM_THREADS, OPENBLAS_NUM_THREADS and NPROC (the pool of XLA) are set, "
        "and so are torch's and TensorFlow's own settings.",
        f"Milliseconds a step and replica: median of n = {rounds} rounds ± half of the "
        "span from the fastest to the slowest round; in brackets the time over ours, "
        "median of the ratios within each round.\n"
        "Batch 128, SGD 0.1, clipped loss, float32, running loss and accuracy; random "
        "pixels; the order of the batches is drawn within the time, compilation and a "
        "first run are not.\n"
        "Each trainer is a process of its own; in each round everybody has a turn.",
        format_table(write_header(names), rows),
        "Share of the best float32 product rate: operations of the products, "
        "4 B P + 2 B (P - P1), over time and rate of the same round.",
        format_table(["shape, width", *names], shares),
        "What the machine can do, measured in every round (a product of "
        f"{SIZE} x {SIZE}; a copy of {COPIED >> 20} MiB, read and written):",
        format_table(
            ["rate", "median", "least", "most", "error against float64", "counts"],
            _write_rates(results),
        ),
        f"A product counts as float32 below a relative error of {FLOAT32_ERROR:.0e}.\n"
        '"Default" is torch.mm as it comes; "best" is the quickest that counts.',
        "Who they are:",
        format_table(["name", "versions", "replicas", "how it is made fast"], about),
    ]
    if figure:
        parts.append(
            f"![Time a step and replica by width, replicas and data]({figure})\n\n"
            "Floors: arithmetic (dashed) is the operations over the best product "
            "rate; memory (dotted) is 12 bytes a weight (read, read again for the "
            "update, written) and one byte a pixel over the measured bandwidth, were "
            "no weight found in a cache.\n"
            "Growth with replicas and data: ours alone, on HASYv2 shapes."
        )
    return "\n\n".join(parts) + "\n"


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def describe_machine() -> str:
    """Processor, what it can do, and the versions below everybody."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    facts = dict(reversed([line.split("\t", 1) for line in lines if "\t" in line]))
    model = facts.get("model name", platform.processor()).strip(" \t:")
    flags = facts.get("flags", "").split()
    sets = [
        label
        for label, flag in (("AVX-512", "avx512f"), ("AMX", "amx_tile"))
        if flag in flags
    ]
    return (
        f"{model or platform.machine()}, {os.cpu_count()} processors"
        f"{' with ' + ', '.join(sets) if sets else ''}; "
        f"{platform.system()}, Python {platform.python_version()}."
    )


def _write_rates(results: Sequence[Timings]) -> list[list[str]]:
    machine = [rates for timings in results for rates in timings.machine]
    rows = []
    for name in machine[0]["rates"]:
        values = [rates["rates"][name] / 1e9 for rates in machine]
        error = max(rates["errors"][name] for rates in machine)
        verdict = "yes" if error < FLOAT32_ERROR else "no: not float32"
        rows.append([name, *_span(values, "GFLOP/s"), f"{error:.0e}", verdict])
    best = [best_rate(rates) / 1e9 for rates in machine]
    rows.append(["best of each round", *_span(best, "GFLOP/s"), "", ""])
    bandwidth = [rates["bandwidth"] / 1e9 for rates in machine]
    return [*rows, ["copy", *_span(bandwidth, "GB/s"), "", ""]]


def _span(values: Sequence[float], unit: str) -> list[str]:
    middle = statistics.median(values)
    return [f"{middle:.0f} {unit}", f"{min(values):.0f}", f"{max(values):.0f}"]


def _share(timings: Timings, name: str, best: bool) -> str:
    return f"{statistics.median(timings.shares(name, best=best)):.0%}"


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g}"


def _half_spread(values: Sequence[float]) -> float:
    return (max(values) - min(values)) / 2 / statistics.median(values)
