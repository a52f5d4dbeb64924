"""Does everybody train the same network? Same start, same batches, same losses."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from throughput.case import MAX_REPLICAS, Case
from throughput.ours import draw_start
from throughput.process import Process
from throughput.trainer import REFERENCE

EPOCHS = 3
TOLERANCE = 1e-4  # of the mean loss of an epoch
SHARE_OF_CHANGE = 1e-2  # and of its change over all epochs, which may be small
# an epoch of three steps: what a step did wrong shows in the loss of the next one
CASES = [Case("hasyv2", 10, 2), Case("hasyv2", 100, 2), Case("mnist", 50, 2)]


def check_all(processes: Mapping[str, Process]) -> list[str]:
    """One line for each trainer and case that agrees with plain torch.

    Raises:
        RuntimeError: One does not.
    """
    lines = []
    with TemporaryDirectory() as folder:
        start = Path(folder, "start.npz")
        for case in CASES:
            draw_start(case, EPOCHS).save(start)
            expected = [
                _train(processes[REFERENCE], case, start, first=replica)
                for replica in range(MAX_REPLICAS)
            ]
            for name, process in processes.items():
                found = _train(process, case, start)
                error = compare(name, case, found, expected)
                lines.append(f"{case.name}: {name} agrees to {error:.0e}")
    return lines


def compare(
    name: str,
    case: Case,
    found: list[dict[str, Any]],
    expected: list[list[dict[str, Any]]],
) -> float:
    """The largest relative difference of the mean losses of all epochs.

    Raises:
        RuntimeError: It is above the tolerance, or the accuracies differ.
    """
    loss_ER = np.array([epoch["loss"] for epoch in found])
    accuracy_ER = np.array([epoch["accuracy"] for epoch in found])
    replicas = expected[: loss_ER.shape[1]]
    reference_ER = np.array([[e["loss"][0] for e in one] for one in replicas]).T
    hits_ER = np.array([[e["accuracy"][0] for e in one] for one in replicas]).T
    change_R = np.abs(reference_ER[-1] - reference_ER[0])
    allowed_ER = np.minimum(TOLERANCE * reference_ER, SHARE_OF_CHANGE * change_R)
    difference_ER = np.abs(loss_ER - reference_ER)
    # one answer may tip over where two classes are as good as equal
    tipped = 1.5 / case.num_examples
    same_answers = np.abs(accuracy_ER - hits_ER).max() < tipped
    if not (same_answers and (difference_ER < allowed_ER).all()):
        raise RuntimeError(
            f"{name!r} trains another network than plain torch on {case.name}: losses "
            f"{loss_ER.tolist()}, not {reference_ER.tolist()}"
        )
    return float((difference_ER / reference_ER).max())


def _train(
    process: Process, case: Case, start: Path, first: int = 0
) -> list[dict[str, Any]]:
    process.setup(case, start, first)
    steps = case.steps + 1
    return [process.ask("epoch", number=e, steps=steps) for e in range(EPOCHS)]
