"""Claims about which weights travel, and how far at which width."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from birthmark.analysis import (
    Measure,
    Study,
    choose_losses,
    deviation_at_loss,
    say_list,
    say_number,
    say_sentence,
)
from birthmark.shapes import Array
from birthmark_experiments.paper.claims import Claim, judge
from birthmark_experiments.paper.evidence import (
    CLIPPED,
    LOGITS,
    Arm,
    Evidence,
    weigh,
    weigh_exponent,
)
from birthmark_experiments.paper.moments_of_training import MOMENTS, Moment

OUTER = 0.75  # of the bound: initial weights beyond are large
_NORMS: dict[Measure, str] = {
    "deviation_std": "per weight",
    "distance": "Frobenius norm",
    "spectral_distance": "spectral norm",
}


def claim_width(arms: list[Arm]) -> Claim:
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
        judge(said.get(CLIPPED), said.get(LOGITS)),
        say_sentence(words) if words else "No train loss is reached by two widths.",
        tuple(evidence),
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


def claim_growth(arms: list[Arm], read: Callable[[str], xr.Dataset]) -> Claim:
    """(d) Larger initial weights grow, and their distribution is skewed outward."""
    evidence: list[Evidence] = []
    said: dict[str, bool | None] = {}
    words = []
    for arm in arms:
        sides = []
        for moment in ("the minimum of the train loss", "the end"):
            growth, skewness = _outward(arm, read, MOMENTS[moment])
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
        judge(said.get(CLIPPED), said.get(LOGITS)),
        say_sentence(words),
        tuple(evidence),
    )


def _outward(
    arm: Arm,
    read: Callable[[str], xr.Dataset],
    epoch: Moment,
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
