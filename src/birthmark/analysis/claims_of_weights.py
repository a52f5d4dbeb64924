"""Claims about how far the weights travel, which of them, and about the mark."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import xarray as xr

from birthmark.analysis.claims import Claim, judge
from birthmark.analysis.evidence import Arm, Evidence, value_at, weigh, weigh_exponent
from birthmark.analysis.intervals import compare_means
from birthmark.analysis.scaling import Measure, choose_losses, deviation_at_loss
from birthmark.analysis.studies import Run, Study
from birthmark.analysis.transitions import Transitions
from birthmark.analysis.words import say_interval, say_list, say_number, say_sentence
from birthmark.shapes import Array

REDRAW = math.sqrt(2)  # relative distance of an independent draw
OUTER = 0.75  # of the bound: initial weights beyond are large
_CLIPPED, _LOGITS = "clipped_cross_entropy", "cross_entropy"
_NORMS: dict[Measure, str] = {
    "deviation_std": "per weight",
    "distance": "Frobenius norm",
    "spectral_distance": "spectral norm",
}


def claim_nearness(arms: list[Arm], data: str) -> Claim:
    """(a1) Successful training ends nearer to its start than an independent draw."""
    return _claim_of_start(
        arms,
        data,
        "relative_distance",
        REDRAW,
        letter="a1",
        statement="Successful training ends near its start: nearer than an independent "
        "draw of the weights.",
        test="The norm of the deviation over the norm of the start, of the matrix "
        "between the hidden layers, against the square root of 2 of an independent "
        "draw. It holds where strong learners end below.",
        holds_on=-1,
    )


def claim_memory(arms: list[Arm], data: str) -> Claim:
    """(a2) Where training succeeds, the weights still show their start."""
    return _claim_of_start(
        arms,
        data,
        "correlation",
        0.0,
        letter="a2",
        statement="Where training succeeds the weights still show where they started.",
        test="The correlation of the weights between the hidden layers with their "
        "initial values, against the 0 of an independent draw. It holds where strong "
        "learners end above.",
        holds_on=1,
    )


def _claim_of_start(
    arms: list[Arm],
    data: str,
    measure: str,
    null: float,
    *,
    letter: str,
    statement: str,
    test: str,
    holds_on: int,
) -> Claim:
    """One measure of the way from the start, of strong learners, against a null."""
    evidence: list[Evidence] = []
    said: dict[str, bool | None] = {}
    words = []
    for arm in arms:
        for kind in ("strong", "unstable"):
            which = arm.learners == kind
            for moment, epoch in _MOMENTS.items():
                values = arm.each(_reader(measure, epoch))[which]
                name = f"{measure.replace('_', ' ')} at {moment}, {kind} learners"
                evidence += [weigh(name, arm.name, values, null)] if which.any() else []
        strong = arm.learners == "strong"
        end = weigh("", arm.name, arm.each(_reader(measure, _at_end))[strong], null)
        said[arm.loss] = {holds_on: True, -holds_on: False}.get(end.side)
        words.append(
            f"with the {arm.name} {int(strong.sum())} of {arm.num_replicas} replicas "
            "are strong learners"
        )
        if end.n:
            words[-1] += (
                f" and end at {say_number(end.value)} "
                f"({say_interval(end.low, end.high)})"
            )
    return Claim(
        letter,
        statement,
        test,
        judge(said.get(_CLIPPED), said.get(_LOGITS)),
        say_sentence(words),
        tuple(evidence),
        (data,),
    )


def claim_width(arms: list[Arm], data: str) -> Claim:
    """(c) Wider networks deviate less at equal loss."""
    evidence: list[Evidence] = []
    said: dict[str, bool | None] = {}
    words = []
    for arm in arms:
        study = Study(tuple(run for column in arm.columns for run in column.runs))
        losses = choose_losses(study, arm.columns[0].transitions[0].chance_loss)
        places = {0, len(losses) // 2, len(losses) - 1} if losses else set()
        losses = [losses[place] for place in sorted(places)]
        found = {
            (layer, measure): _weigh_falls(arm, study, losses, layer, measure)
            for layer in study.runs[0].spec.network.layer_names
            for measure in _NORMS
        }
        evidence += [one for some in found.values() for one in some]
        last = study.runs[0].layer
        sides = {one.side for one in found[last, "deviation_std"]}
        said[arm.loss] = True if sides == {1} else False if -1 in sides else None
        if not losses:
            continue
        exponents = [
            f"{say_list([f'{one.value:.2f}' for one in found[last, measure]])} ({norm})"
            for measure, norm in _NORMS.items()
        ]
        words.append(
            f"with the {arm.name}, at train losses of "
            f"{say_list([say_number(loss) for loss in losses])}, the exponents of "
            f"{last} are {'; '.join(exponents)}"
        )
    return Claim(
        "c",
        "Wider networks deviate less than narrower ones when they reach the same loss.",
        "The exponent of the fall of the deviation with width (deviation ~ width to "
        "the power of minus the exponent) at train losses that two widths reach, by "
        "layer, per weight and in two norms, against 0. It holds where the deviation "
        "per weight between the hidden layers falls at each of the losses.",
        judge(said.get(_CLIPPED), said.get(_LOGITS)),
        say_sentence(words) if words else "No train loss is reached by two widths.",
        tuple(evidence),
        (data,),
    )


def _weigh_falls(
    arm: Arm, study: Study, losses: list[float], layer: str, measure: Measure
) -> list[Evidence]:
    """The exponent at each loss that two widths reach."""
    fits = deviation_at_loss(study, losses, layer, measure).fits
    return [
        weigh_exponent(
            f"{layer}, {_NORMS[measure]}, at a train loss of {say_number(loss)}",
            arm.name,
            law,
        )
        for loss, law in zip(losses, fits, strict=True)
        if law is not None
    ]


def claim_growth(
    arms: list[Arm], data: str, read: Callable[[str], xr.Dataset]
) -> Claim:
    """(d) Larger initial weights grow, and their distribution is skewed outward."""
    evidence: list[Evidence] = []
    said: dict[str, bool | None] = {}
    words = []
    for arm in arms:
        sides = []
        for moment in ("the minimum of the train loss", "the end"):
            growth, skewness = _outward(arm, read, _MOMENTS[moment])
            two = [
                weigh(
                    f"growth of large weights at {moment} (of the bound)",
                    arm.name,
                    growth,
                    0,
                ),
                weigh(f"outward skewness at {moment}", arm.name, skewness, 0),
            ]
            evidence += two
            sides.append([one.side for one in two])
        at_minimum = sides[0]
        said[arm.loss] = (
            True if at_minimum == [1, 1] else False if -1 in at_minimum else None
        )
        words.append(
            f"with the {arm.name} large weights have grown by "
            f"{say_number(evidence[-4].value)} of the bound at the minimum of the "
            f"train loss, with an outward skewness of {say_number(evidence[-3].value)}"
        )
    return Claim(
        "d",
        "Weights that start large grow, and the distribution of where they end is "
        "skewed outward.",
        f"Of the weights between the hidden layers that start beyond {OUTER:g} of the "
        "bound: the mean of their deviation away from zero, in units of the bound, and "
        "the skewness of that deviation, each against 0. It holds where both are above "
        "0 at the minimum of the train loss.",
        judge(said.get(_CLIPPED), said.get(_LOGITS)),
        say_sentence(words),
        tuple(evidence),
        (data,),
    )


def claim_mark(arms: list[Arm], data: str) -> Claim:
    """(f) The mark stays readable where training succeeds, not where it fails."""
    evidence: list[Evidence] = []
    at_end = _reader("mark_auc", _at_end)
    for arm in arms:
        for moment, epoch in _MOMENTS.items():
            values = arm.each(_reader("mark_auc", epoch))
            evidence.append(weigh(f"retention at {moment}", arm.name, values, 0.5))
        for name, reader, null in (
            ("retention at divergence", _retention_at_divergence, 0.5),
            ("change of retention after divergence", _retention_lost_after, 0.0),
        ):
            evidence.append(weigh(name, arm.name, arm.each(reader), null))
    kept: bool | None = None
    because = "There are no replicas of two kinds to compare."
    clipped = next((arm for arm in arms if arm.loss == _CLIPPED), None)
    differences = _pair(arms, at_end)
    if clipped is not None and _has_both_kinds(clipped):
        ends, kinds = clipped.each(at_end), clipped.learners
        welch = compare_means(ends[kinds == "strong"], ends[kinds == "unstable"])
        kept = {1: True, -1: False}.get(welch.sign)
        because = (
            "Retention at the end, strong minus unstable learners: "
            f"{say_number(welch.difference)} ({say_interval(welch.low, welch.high)})."
        )
    elif len(differences):
        name = "retention at the end, loss from logits minus clipped, same starts"
        pairs = weigh(name, "pairs", differences, 0.0)
        evidence.append(pairs)
        kept = {1: True, -1: False}.get(pairs.side)
        because = (
            "There are no strong learners with the clipped loss. Trained from the same "
            "starts with the same batches and the loss from logits, networks retain "
            f"{say_number(pairs.value)} more ({say_interval(pairs.low, pairs.high)})."
        )
    return Claim(
        "f",
        "The mark stays readable where training succeeds, and is lost where it fails.",
        "Retention (area under the ROC curve of the weights as detector of the mark: "
        "1 perfect, 0.5 gone) at the end, of strong against unstable learners, or of "
        "pairs with the same start under both losses. It holds where the difference is "
        "above 0.",
        judge(kept, None),
        because,
        tuple(evidence),
        (data,),
    )


def _has_both_kinds(arm: Arm) -> bool:
    kinds = ("strong", "unstable")
    return all(int((arm.learners == kind).sum()) > 1 for kind in kinds)


def _at_min_train(found: Transitions, place: int) -> float:
    return _finite_or(found.min_train_epoch[place], found.last_epoch)


def _at_min_test(found: Transitions, place: int) -> float:
    return _finite_or(found.min_test_epoch[place], found.last_epoch)


def _at_end(found: Transitions, place: int) -> float:
    return float(found.last_epoch)


_MOMENTS: dict[str, Callable[[Transitions, int], float]] = {
    "the minimum of the test loss": _at_min_test,
    "the minimum of the train loss": _at_min_train,
    "the end": _at_end,
}


def _finite_or(value: float, other: float) -> float:
    """A minimum that is still falling lies at the end so far."""
    return float(value) if math.isfinite(value) else float(other)


def _reader(
    name: str, epoch: Callable[[Transitions, int], float]
) -> Callable[[Run, Transitions, int], float]:
    def read(run: Run, found: Transitions, place: int) -> float:
        return value_at(run, name, run.layer, epoch(found, place), place)

    return read


def _outward(
    arm: Arm,
    read: Callable[[str], xr.Dataset],
    epoch: Callable[[Transitions, int], float],
) -> tuple[Array, Array]:
    """Growth in units of the bound and outward skewness of large weights, [R] each."""
    found: list[tuple[float, float]] = []
    for column in arm.columns:
        for run, transitions in zip(column.runs, column.transitions, strict=True):
            records = read(run.run_key).sel(layer=run.layer)
            found += [
                outward_moments(records.isel(replica=place), epoch(transitions, place))
                for place in range(records.sizes["replica"])
            ]
    growth, skewness = np.array(found).T
    return growth, skewness


def outward_moments(records: xr.Dataset, epoch: float) -> tuple[float, float]:
    """Growth and outward skewness of the weights that start large, of one matrix.

    Args:
        records: Of one replica and layer, with distributions.
        epoch: The last distributions up to this one are taken.

    Returns:
        The mean of the deviation away from zero in units of the bound, and the mean
        over bins of its skewness, both weighted by the weights in a bin.
    """
    time = np.flatnonzero(records["distribution_epoch"].to_numpy() <= epoch)[-1]
    centre_M = records["bin"].to_numpy()
    large_M = np.abs(centre_M) > OUTER
    here = records.isel(distribution_step=int(time), bin=large_M)
    weight_M = here["conditional_count"].to_numpy().astype(float)
    outward_M = np.sign(centre_M[large_M])

    def average(name: str) -> float:
        return float(np.average(outward_M * here[name].to_numpy(), weights=weight_M))

    growth = average("conditional_mean") / float(here["bound"])
    return growth, average("conditional_skewness")


def _retention_at_divergence(run: Run, found: Transitions, place: int) -> float:
    return value_at(
        run, "mark_auc", run.layer, float(found.divergence_epoch[place]), place
    )


def _retention_lost_after(run: Run, found: Transitions, place: int) -> float:
    """The change of retention from divergence to the end."""
    last = value_at(run, "mark_auc", run.layer, float(found.last_epoch), place)
    return last - _retention_at_divergence(run, found, place)


def _pair(arms: list[Arm], read: Callable[[Run, Transitions, int], float]) -> Array:
    """Differences, logits minus clipped, of replicas with one start and one order."""
    values: dict[str, dict[str, Array]] = {}
    for arm in arms:
        for column in arm.columns:
            for run, found in zip(column.runs, column.transitions, strict=True):
                alike = run.spec.with_settings({"training.loss": _LOGITS}).run_key
                count = range(len(found.min_train_loss))
                each = np.array([read(run, found, place) for place in count])
                values.setdefault(alike, {})[arm.loss] = each
    both = [one for one in values.values() if len(one) == len(arms) == 2]
    differences = [one[_LOGITS] - one[_CLIPPED] for one in both]
    return np.concatenate(differences) if differences else np.array([])
