"""What products through bfloat16 change in the deviation from the start.

Three trainings of the same ten replicas, with the same starts and batches: products in
float32 (`full`), the same with sums in another order (`control`: the hand-written path
of torch instead of the compiled one, so that only rounding differs) and products of
operands rounded to bfloat16 (`bf16`); the weights themselves are float32 in all, the
statistics float64. The table gives, for each statistic, the mean over replicas under
`full`, and the mean paired differences of the other two in per cent of it, with 95 %
intervals (Student's t). What chaos makes of rounding alone stands in the column of the
control. A statistic moves when the p-value of its paired difference is below 0.05 after
Holm's correction over all statistics of a data set.
"""

import argparse
import json
import platform
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from birthmark import RunSpec
from birthmark.data import load_dataset
from birthmark.measurements import measure
from birthmark.network import find_bounds
from birthmark.training import Training, check_precision

CASES = {
    "mnist": {"data": "mnist", "width": 250, "epochs": 20},
    "hasyv2": {"data": "hasyv2", "width": 150, "epochs": 8},
}
ARMS = {
    "full": {"precision": "full", "path": "compiled"},
    "control": {"precision": "full", "path": "fast"},
    "bf16": {"precision": "bf16", "path": "compiled"},
}
STATISTICS = (
    "distance",
    "relative_distance",
    "deviation_mean",
    "deviation_std",
    "deviation_skewness",
    "deviation_kurtosis",
    "deviation_max",
    "correlation",
    "slope",
    "sign_flips",
    "spectral_distance",
    "effective_rank",
)
METRICS = ("train_loss", "test_loss", "test_accuracy")


def train_arm(case: dict, arm: dict) -> dict[str, np.ndarray]:
    """Each statistic at the end of one arm, a value a replica."""
    spec = RunSpec(
        data={"name": case["data"]},
        network={"widths": [case["width"]] * 2},
        training={"epochs": case["epochs"]},
        run={"replicas": 10, "device": "cpu", "precision": arm["precision"]},
    )
    check_precision(spec)
    data = load_dataset(spec.data)
    training = Training.from_spec(spec, data, path=arm["path"])
    for _ in range(case["epochs"]):
        metrics = training.run_epoch()
    bounds = find_bounds(spec, data.num_inputs, data.num_classes)
    found = measure(training.initial, training.weights, bounds=bounds, kind="all")
    values = {name: np.asarray(getattr(metrics, name)) for name in METRICS}
    for name in STATISTICS:
        for layer in spec.network.layer_names:
            values[f"{layer} {name}"] = found[name].sel(layer=layer).values
    return values


def describe_difference(values: np.ndarray, reference: np.ndarray) -> tuple[str, float]:
    """The mean paired difference in per cent with its interval, and its p-value."""
    scale = 100 / abs(reference.mean())
    difference = (values - reference) * scale
    if not difference.any():
        return "0", 1.0
    result = stats.ttest_1samp(difference, 0)
    low, high = result.confidence_interval()
    return f"{difference.mean():+.3f} ({low:+.3f}, {high:+.3f})", float(result.pvalue)


def holm(p_values: list[float]) -> list[bool]:
    """Which hypotheses of no difference are refuted at 0.05 over the family."""
    order = np.argsort(p_values)
    refuted = [False] * len(p_values)
    for rank, number in enumerate(order):
        if p_values[number] > 0.05 / (len(p_values) - rank):
            break
        refuted[number] = True
    return refuted


def make_table(arms: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """Rows of one data set."""
    rows, p_values = [], {"control": [], "bf16": []}
    for name, reference in arms["full"].items():
        cells = [name, f"{reference.mean():.5g}"]
        for arm in ("control", "bf16"):
            text, p = describe_difference(arms[arm][name], reference)
            cells.append(text)
            p_values[arm].append(p)
        rows.append(cells)
    moved = {arm: holm(values) for arm, values in p_values.items()}
    lines = [
        "| statistic | full | control, % | bf16, % | moves |",
        "|---|---|---|---|---|",
    ]
    for number, cells in enumerate(rows):
        moves = [arm for arm in ("control", "bf16") if moved[arm][number]]
        lines.append("| " + " | ".join([*cells, ", ".join(moves) or "-"]) + " |")
    return lines


def main() -> None:
    """Train all arms and write the tables; arms that are done are read again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, required=True, help="folder for the arms")
    parser.add_argument("--out", type=Path, required=True, help="Markdown to write")
    arguments = parser.parse_args()
    arguments.keep.mkdir(parents=True, exist_ok=True)
    lines = [
        "# What bfloat16 products change in the deviation from the start",
        "",
        *(__doc__ or "").strip().splitlines()[2:],
        "",
        f"{platform.machine()}, torch {torch.__version__}, Python "
        f"{platform.python_version()}; ten replicas, two hidden layers of relu units, "
        "SGD with lr 0.1, batch 128, clipped cross-entropy; at the end of training.",
    ]
    for name, case in CASES.items():
        arms = {}
        for arm_name, arm in ARMS.items():
            kept = arguments.keep / f"{name}-{arm_name}.json"
            if not kept.exists():
                values = train_arm(case, arm)
                kept.write_text(json.dumps({k: v.tolist() for k, v in values.items()}))
            stored = json.loads(kept.read_text())
            arms[arm_name] = {key: np.array(value) for key, value in stored.items()}
            print(name, arm_name, "done", flush=True)
        title = f"## {name}, width {case['width']}, {case['epochs']} epochs"
        lines += ["", title, "", *make_table(arms)]
    arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
