"""How often alarms are false, and how early they are where training collapses.

    make alarms

False alarms: made curves that grow or fall and waver without a jump, 500 records each,
and units of small networks that 2,000 steps of SGD train on the digits. Lead
time: the networks of the paper's protocol that end on the plateau of the loss, from
the records that ship; their deviation is followed as a tracker would.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import beta
from sklearn.datasets import load_digits

from birthmark.measurements import to_parameters
from birthmark.statistics import JumpAlarm, summarize
from birthmark.store import Store, open_shipped
from birthmark.tracking.alarms import Divergence
from birthmark.tracking.dead_units import DeadUnits

RECORDS, CURVES = 500, 100
STEPS = 10  # between two records of a loss
SHIFT = 0.9 * -np.log(1e-7)  # 90 % of the highest plateau there can be: lost for good
Noise = Callable[[np.random.Generator, int], np.ndarray]
NOISES: dict[str, Noise] = {
    "level, normal 1 %": lambda rng, n: rng.normal(0, 0.01, n),
    "level, Student t4": lambda rng, n: 0.01 * rng.standard_t(4, n),
    "level, autoregressive 0.9": lambda rng, n: _autoregressive(rng, n),
    "walk, normal 0.5 %": lambda rng, n: np.cumsum(rng.normal(0, 0.005, n)),
    "walk, Student t4": lambda rng, n: np.cumsum(0.005 * rng.standard_t(4, n)),
    "walk, scatter that doubles and halves": lambda rng, n: _changing(rng, n),
}
SINGLE: dict[str, Noise] = {
    "normal 10 %": lambda rng, n: rng.normal(0, 0.1, n),
    "normal 50 %": lambda rng, n: rng.normal(0, 0.5, n),
    "Student t4, 20 %": lambda rng, n: 0.2 * rng.standard_t(4, n),
    "autoregressive 0.9, 23 %": lambda rng, n: 10 * _autoregressive(rng, n),
}


def count_false_alarms() -> None:
    """A line a kind of noise: alarms, records, and the 95 % upper bound of the rate."""
    columns = "alarm | curve | noise of its logarithm | alarms | of records"
    print(f"| {columns} | rate, at most (95 %) |")
    print("|---|---|---|--:|--:|--:|")
    steps = 100.0 * np.arange(1, RECORDS + 1)
    for curve, power in (("deviation, as t^0.3", 0.3), ("loss, as t^-0.3", -0.3)):
        for name, make in NOISES.items():
            rng, count = np.random.default_rng(0), 0
            for _ in range(CURVES):
                values = np.exp(power * np.log(steps) + make(rng, RECORDS))
                count += len(_alarms(steps, values))
            _say("jump", curve, name, count, CURVES * RECORDS)
    steps = np.arange(1, 1 + STEPS * RECORDS)
    for curve, power in (("loss, level", 0.0), ("loss, as t^-0.3", -0.3)):
        for name, make in SINGLE.items():
            rng, count = np.random.default_rng(0), 0
            for _ in range(CURVES):
                loss = 2.3 * np.exp(power * np.log(steps) + make(rng, len(steps)))
                count += _count_divergences(loss)
            _say("divergence", curve, name, count, CURVES * RECORDS)


def _say(alarm: str, curve: str, noise: str, count: int, total: int) -> None:
    bound = beta.ppf(0.95, count + 1, total - count)  # Clopper & Pearson
    print(
        f"| {alarm} | {curve} | {noise} | {count} | {total:,} | {bound:.1e} |",
        flush=True,
    )


def _count_divergences(losses: np.ndarray) -> int:
    """How often it is called diverged, judged anew after each time."""
    watched, count = Divergence(), 0
    for step, one in enumerate(losses.tolist(), 1):
        watched.note(one)
        if step % STEPS == 0 and watched.measured(step) is not None:
            watched, count = Divergence(), count + 1
    return count


def count_units_called_dead() -> None:
    """Of units that are called dead, how many have a gradient again later."""
    digits = load_digits()
    x = torch.tensor(digits.data, dtype=torch.float32) / 16
    y = torch.tensor(digits.target)
    print("\n| lr | batch | units | called dead | of these alive later | warnings |")
    print("|--:|--:|--:|--:|--:|--:|")
    for lr, batch in ((0.1, 128), (0.1, 32), (0.1, 8), (1.0, 32), (3.0, 32)):
        units = called = revived = warnings = 0
        for seed in range(5):
            one = _train_and_look(x, y, lr, batch, seed)
            units, called = units + one[0], called + one[1]
            revived, warnings = revived + one[2], warnings + one[3]
        print(f"| {lr} | {batch} | {units} | {called} | {revived} | {warnings} |")


def _train_and_look(
    x: torch.Tensor, y: torch.Tensor, lr: float, batch: int, seed: int
) -> tuple[int, int, int, int]:
    """Units, called dead at any record, alive after that, warnings of the run."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        *(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64)),
        *(torch.nn.ReLU(), torch.nn.Linear(64, 10)),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr)
    own, dead = dict(model.named_parameters()), DeadUnits()
    whole = to_parameters(model)
    names = ("0.weight", "2.weight")
    called = {name: torch.zeros(64, dtype=torch.bool) for name in names}
    revived = {name: torch.zeros(64, dtype=torch.bool) for name in names}
    for step in range(1, 2001):
        take = torch.randint(len(y), (batch,))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[take]), y[take]).backward()
        if step % STEPS == 0:
            dead.take_in(own, whole)
        for name in names:
            has_one = own[name].grad.bool().any(1)
            revived[name] |= called[name] & has_one
            if step % STEPS == 0:
                called[name] |= dead.died(name)
        optimizer.step()
    counts = [sum(int(one[name].sum()) for name in names) for one in (called, revived)]
    warnings = sum(one.level == "warning" for one in dead.findings())
    return 128, counts[0], counts[1], warnings


def measure_lead_times(store: Store) -> None:
    """Epochs by which the alarm comes before two events of the loss, a replica each."""
    leads: dict[str, list[float]] = {"90 % of the plateau": [], "twice its minimum": []}
    num_lost = num_missed = num_others = num_records = 0
    for key in store.runs()["run_key"]:
        records = store.records(key)
        epochs, losses = records.epoch.values, records.train_loss.values.T
        moved = records.distance.sel(layer="hidden2").values.T
        for loss, distance in zip(losses, moved, strict=True):
            use = np.isfinite(distance) & (epochs > 0)
            found = _alarms(epochs[use], distance[use])
            lost = np.flatnonzero(loss > SHIFT)
            if not len(lost):
                num_others += len(found)
                num_records += int(use.sum())
                continue
            num_lost += 1
            end = float(epochs[lost[0]])
            near = [epoch for epoch in found if abs(epoch - end) <= 200]
            if not near:
                num_missed += 1
                continue
            leads["90 % of the plateau"].append(end - near[0])
            low = np.nanargmin(loss[: lost[0]])
            doubled = low + np.flatnonzero(loss[low:] > 2 * loss[low])[0]
            leads["twice its minimum"].append(float(epochs[doubled]) - near[0])
    print(f"\nNetworks that are lost: {num_lost}; without an alarm: {num_missed}")
    for event, each in leads.items():
        if each:
            one = summarize(np.array(each))
            print(
                f"Epochs from the alarm until the loss is at {event}: mean "
                f"{one.mean:.0f} ({one.low:.0f} to {one.high:.0f}), n = {len(each)}; "
                f"each: {sorted(each)}"
            )
    print(f"Alarms where nothing is lost: {num_others} in {num_records} records")


def _alarms(epochs: np.ndarray, values: np.ndarray) -> list[float]:
    alarm = JumpAlarm()
    pairs = zip(epochs.tolist(), values.tolist(), strict=True)
    return [epoch for epoch, value in pairs if alarm.update(epoch, value)]


def _autoregressive(rng: np.random.Generator, n: int) -> np.ndarray:
    noise = rng.normal(0, 0.01, n)
    for i in range(1, n):
        noise[i] += 0.9 * noise[i - 1]
    return noise


def _changing(rng: np.random.Generator, n: int) -> np.ndarray:
    scatter = 0.005 * 2 ** np.sin(np.arange(n) / 40)
    return np.cumsum(rng.normal(0, scatter))


if __name__ == "__main__":
    count_false_alarms()
    count_units_called_dead()
    measure_lead_times(open_shipped())
