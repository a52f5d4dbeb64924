"""What was measured in real Keras, as facts for the pages.

From the lines that `measure` and `measure_paper` wrote, with birthmark's own
runs of the same starts and orders of batches beside them.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from birthmark.analysis import FIGURE_2, Thresholds, divergence_level
from birthmark.store import open_shipped
from .. import shipped_results

RESULTS = Path(__file__).parent
NAMES = {"jax": "JAX", "torch": "PyTorch", "tensorflow": "TensorFlow"}
AGREES = 1e-3  # relative difference of two losses
ABANDONED = 0.8  # share of the examples below the clip at the end
SHOWN = (1, 2, 5, 10, 20, 40, 60, 80, 100, 130, 150, 200, 250, 300, 350, 400, 450)

Line = dict[str, Any]


def read_lines(name: str) -> list[Line]:
    """What a script found, in the order in which it was written."""
    text = (RESULTS / f"{name}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def describe_steps() -> dict[str, Any]:
    """One step on one example: by backend and version, and what must come out."""
    lines = read_lines("steps")
    lines.sort(key=lambda one: [-int(part) for part in one["keras"].split(".")])
    plain = [one for one in lines if one["from_logits"]]
    soft = [one for one in lines if not one["from_logits"]]
    stuck = [one for one in soft if not any(one["moved"])]
    loss = plain[0]["loss"]
    pairs = {(one["keras"], one["backend"]): one for one in plain}
    by_backend = sorted(soft, key=lambda one: list(NAMES).index(one["backend"]))
    return {
        "rows": [
            {"soft": one, "plain": pairs[one["keras"], one["backend"]]}
            for one in by_backend
        ],
        "backends": [
            {
                "name": name,
                "versions": [one["keras"] for one in soft if one["backend"] == key],
                "num_stuck": sum(one["backend"] == key for one in stuck),
            }
            for key, name in NAMES.items()
        ],
        "num_plain": len(plain),
        "num_plain_moved": sum(any(one["moved"]) for one in plain),
        "loss": loss,
        "moved": plain[0]["moved"],
        "clipped_loss": stuck[0]["loss"],
        "eps": math.exp(-stuck[0]["loss"]),
        "probability": math.exp(-loss),
        "logit": loss - math.log(2),  # that of the two other classes is 0
        "lr": plain[0]["moved"][-1],  # 1 - p, of the true class, is 1
    }


def describe_trainings() -> dict[str, Any]:
    """Trainings by backend and loss, and how long those that are paired agree."""
    lines = read_lines("trainings")
    eps, epochs = lines[0]["epsilon"], len(lines[0]["loss"])
    curves = {
        (one["backend"], one["from_logits"], one["replica"]): one["loss"]
        for one in lines
    }
    results = shipped_results("abandonment")["train_loss"]
    for from_logits in (False, True):
        losses = results.sel(clip="logits" if from_logits else f"{eps:g}")
        for replica in results["replica"].to_numpy():
            own = losses.sel(replica=replica).to_numpy()[:epochs]
            curves["birthmark", from_logits, int(replica)] = own
    arms = [
        describe_arm(backend, from_logits, found)
        for from_logits in (False, True)
        for backend in NAMES
        if (found := find(lines, backend, from_logits))
    ]
    pairs = (
        (("jax", False), ("torch", False)),
        (("jax", False), ("birthmark", False)),
        (("jax", False), ("tensorflow", False)),
        (("tensorflow", False), ("tensorflow", True)),
        (("jax", True), ("torch", True)),
        (("jax", True), ("tensorflow", True)),
        (("jax", True), ("birthmark", True)),
    )
    return {
        "arms": arms,
        "pairs": [pair for one in pairs if (pair := describe_pair(curves, *one))],
        "steps": describe_first_steps(lines),
        "protocol": lines[0],
        "eps": eps,
        "num_steps": epochs * len(lines[0]["step_loss"]),
        "num_steps_an_epoch": len(lines[0]["step_loss"]),
        "most": -math.log(eps),
        "guess": math.log(lines[0]["num_classes"]),
        "abandoned": ABANDONED,
        "agrees": AGREES,
    }


def find(lines: list[Line], backend: str, from_logits: bool) -> list[Line]:
    """The trainings of one arm, by replica."""
    arm = (backend, from_logits)
    found = [one for one in lines if (one["backend"], one["from_logits"]) == arm]
    return sorted(found, key=lambda one: one["replica"])


def describe_arm(backend: str, from_logits: bool, found: list[Line]) -> dict[str, Any]:
    """How the replicas of one backend and loss end."""
    guess = math.log(found[0]["num_classes"])
    rows = [
        {
            "replica": one["replica"],
            "highest": max(one["accuracy"]),
            "accuracy": one["accuracy"][-1],
            "loss": one["loss"][-1],
            "below": one["below_eps_at_end"],
            "is_abandoned": one["below_eps_at_end"] >= ABANDONED and not from_logits,
            "guesses": abs(one["loss"][-1] / guess - 1) <= 0.02
            and one["accuracy"][-1] <= 2 / one["num_classes"],
        }
        for one in found
    ]
    count = sum(row["is_abandoned"] for row in rows)
    share = stats.binomtest(count, len(rows)).proportion_ci()
    return {
        "name": NAMES[backend],
        "framework": found[0]["framework"],
        "from_logits": from_logits,
        "output": "logits" if from_logits else "softmax",
        "rows": rows,
        "num_abandoned": count,
        "low": share.low,
        "high": share.high,
        "num_guesses": sum(row["guesses"] for row in rows),
    }


def describe_pair(
    curves: dict[tuple[str, bool, int], Any],
    one: tuple[str, bool],
    other: tuple[str, bool],
) -> dict[str, Any] | None:
    """Epochs for which the losses of two arms agree; None where no replica has both."""
    epochs = []
    for *arm, replica in curves:
        if tuple(arm) == one and (*other, replica) in curves:
            a, b = (np.asarray(curves[*name, replica]) for name in (one, other))
            differs = np.abs(a / b - 1) > AGREES
            epochs.append(int(differs.argmax()) if differs.any() else len(differs))
    if not epochs:
        return None
    words = [
        f"{NAMES.get(backend, backend)}, {'logits' if from_logits else 'softmax'}"
        for backend, from_logits in (one, other)
    ]
    return {"names": words, "epochs": epochs}


def describe_first_steps(lines: list[Line]) -> dict[str, Any]:
    """For how many steps of the first epoch the softmax outputs agree."""
    counts, largest = [], 0.0
    soft = [one for one in lines if not one["from_logits"]]
    for replica in {one["replica"] for one in soft}:
        losses = np.array([x["step_loss"] for x in soft if x["replica"] == replica])
        if len(losses) == len(NAMES):
            apart = np.ptp(losses, axis=0) / losses.mean(axis=0)
            differs = apart > AGREES
            counts.append(int(differs.argmax()) if differs.any() else len(apart))
            largest = max(largest, float(apart[: counts[-1]].max()))
    return {"counts": counts, "largest": largest}


def describe_wide() -> dict[str, Any]:
    """A replica of the paper's protocol in Keras beside birthmark's."""
    lines = read_lines("paper")
    key, replica = lines[0]["run"], lines[0]["replica"]
    store = open_shipped("paper")
    spec, records = store.spec(key), store.records(key, distributions=False)
    names = ("train_loss", "test_loss", "below_eps")
    own = {name: records[name].to_numpy() for name in names}
    own["deviation_std"] = records["deviation_std"].sel(layer="hidden2").to_numpy()
    width, last = spec.network.widths[0], len(lines)
    [published] = [one for one in FIGURE_2 if one.width == width]
    losses = [line["train_loss"] for line in lines]
    lowest = find_minimum(losses)
    rows = []
    for line in lines:
        epoch = line["epoch"]
        values = {name: float(curve[epoch][replica]) for name, curve in own.items()}
        rows.append({"epoch": epoch, "keras": line, "own": values})
    ratios = [row["keras"]["train_loss"] / row["own"]["train_loss"] for row in rows]
    return {
        "run": key,
        "replica": replica,
        "width": width,
        "precision": spec.run.precision,
        "eps": spec.training.eps,
        "epochs": last,
        "rows": [row for row in rows if row["epoch"] in SHOWN or row["epoch"] == last],
        "agrees_until": next(
            (n for n, x in enumerate(ratios) if abs(x - 1) > 0.02), len(ratios)
        ),
        "keras": lowest,
        "own": [find_minimum(loss_T) for loss_T in own["train_loss"][1 : last + 1].T],
        "keras_test": find_minimum([line["test_loss"] for line in lines]),
        "own_test": [find_minimum(loss) for loss in own["test_loss"][1 : last + 1].T],
        "published": published,
        "goes_below": lowest["value"]
        < published.min_train_loss - published.error("min_train_loss"),
        "highest_since": max(losses[int(lowest["epoch"]) - 1 :]),
        "has_diverged": max(losses[9:])
        >= divergence_level(spec, records, Thresholds()),
    }


def find_minimum(values: Any) -> dict[str, float]:
    """The lowest of a curve from epoch 1 on, and its epoch."""
    curve = np.asarray(values, dtype=float)
    return {"value": float(curve.min()), "epoch": int(curve.argmin()) + 1}
