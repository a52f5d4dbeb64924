"""How often the alarm for jumps is false, and how early it is where training collapses.

    make alarms

False alarms: made curves that grow and waver without a jump, 500 records each. Lead
time: the networks of the paper's protocol that end on the plateau of the loss, from
the records that ship; their deviation is followed as a tracker would.
"""

from collections.abc import Callable

import numpy as np
from scipy.stats import beta

from birthmark.statistics import JumpAlarm, summarize
from birthmark.store import Store, open_shipped

RECORDS, CURVES = 500, 100
SHIFT = 0.9 * -np.log(1e-7)  # 90 % of the highest plateau there can be: lost for good
NOISES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "level, normal 1 %": lambda rng: rng.normal(0, 0.01, RECORDS),
    "level, Student t4": lambda rng: 0.01 * rng.standard_t(4, RECORDS),
    "level, autoregressive 0.9": lambda rng: _autoregressive(rng),
    "walk, normal 0.5 %": lambda rng: np.cumsum(rng.normal(0, 0.005, RECORDS)),
    "walk, Student t4": lambda rng: np.cumsum(0.005 * rng.standard_t(4, RECORDS)),
    "walk, scatter that doubles and halves": lambda rng: _changing(rng),
}


def count_false_alarms() -> None:
    """A line a kind of noise: alarms, records, and the 95 % upper bound of the rate."""
    print("| noise of ln x around t^0.3 | alarms | of records | rate, at most (95 %) |")
    print("|---|--:|--:|--:|")
    steps = 100.0 * np.arange(1, RECORDS + 1)
    for name, make in NOISES.items():
        rng, count = np.random.default_rng(0), 0
        for _ in range(CURVES):
            alarm = JumpAlarm()
            values = np.exp(0.3 * np.log(steps) + make(rng))
            count += sum(map(alarm.update, steps, values))
        total = CURVES * RECORDS
        bound = beta.ppf(0.95, count + 1, total - count)  # Clopper & Pearson
        print(f"| {name} | {count} | {total:,} | {bound:.1e} |", flush=True)


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


def _autoregressive(rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(0, 0.01, RECORDS)
    for i in range(1, RECORDS):
        noise[i] += 0.9 * noise[i - 1]
    return noise


def _changing(rng: np.random.Generator) -> np.ndarray:
    scatter = 0.005 * 2 ** np.sin(np.arange(RECORDS) / 40)
    return np.cumsum(rng.normal(0, scatter))


if __name__ == "__main__":
    count_false_alarms()
    measure_lead_times(open_shipped())
