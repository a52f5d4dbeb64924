"""Figure 5: the distribution of the deviation during training, beside the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from birthmark.analysis import Family, NothingFoundError, Replica
from birthmark.figures.canvas import label_log, name_panel, new_figure
from birthmark.figures.captions import describe_protocol
from birthmark.figures.drawings import Drawing
from birthmark.figures.palettes import Palette
from birthmark.shapes import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TRANSITIONS = {
    "min_test_epoch": "minimum of the test loss",
    "loss_jump_epoch": "jump of the loss",
    "deviation_jump_epoch": "jump of the deviation",
    "divergence_epoch": "divergence",
}


_LEGEND = (
    *("train loss", "test loss", "median deviation"),
    *("quartiles", "2 to 98 %", "minimum of the test loss"),
    *("jump of the loss", "jump of the deviation", "divergence"),
)


def draw_evolution(family: Family) -> list[Drawing]:
    """One drawing: a stable network beside an unstable one, or what there is.

    Raises:
        NothingFoundError: No run has measurements of the deviation.
    """
    known = [one for one in family.replicas if "deviation_quantile" in one.run.arrays]
    if not known:
        raise NothingFoundError(
            "no run has measurements of the deviation yet: they come with its first "
            "flush"
        )
    chosen = _choose(known)
    data: dict[str, Array] = {"columns": np.array(list(chosen))}
    for word, replica in chosen.items():
        data |= {f"{word}_{name}": x for name, x in _numbers(family, replica).items()}
    runs = {one.run.run_key: one.run for one in chosen.values()}
    title = "Evolution of the deviation beside the loss"
    who = " and ".join(_say(family, word, one) for word, one in chosen.items())
    caption = (
        f"{title}: {who}. Above: "
        "train loss (mean over each epoch) and test loss. Middle and below: "
        "distribution of the deviation (current minus initial value) of the weights "
        f"of one network in {next(iter(chosen.values())).run.layer}: median, band "
        "between the quartiles, band between the 2 and 98 % quantiles; dashed: the "
        "null model of weights that did not move; and its standard deviation. "
        "Vertical lines: transitions of this network (jumps are change points of the "
        "logarithm of loss and standard deviation, the largest of each). One network "
        "a column, so no interval."
    )
    name = f"figure5-evolution-{family.name}"
    protocol = describe_protocol(list(runs.values()))
    return [Drawing(name, 5, title, caption, data, paint, protocol, family.name)]


def _choose(replicas: list[Replica]) -> dict[str, Replica]:
    """The widest stable network, and the unstable one of the largest jump of loss."""
    stable = [one for one in replicas if one.learner != "unstable"]
    unstable = [one for one in replicas if one.learner == "unstable"]
    chosen = {}
    if stable:
        chosen["stable"] = max(stable, key=_worth_stable)
    if unstable:
        chosen["unstable"] = max(unstable, key=_worth_unstable)
    return chosen


def _worth_stable(replica: Replica) -> tuple[float, ...]:
    final = np.nan_to_num(replica.transition("final_train_loss"), nan=np.inf)
    return (replica.learner == "strong", replica.run.width, -float(final))


def _worth_unstable(replica: Replica) -> tuple[float, ...]:
    both = np.isfinite(replica.transition("lag"))
    jumps = replica.transitions.loss_jumps[replica.place]
    return (both, jumps[0].size if jumps else 0.0)


def _numbers(family: Family, replica: Replica) -> dict[str, Array]:
    run = replica.run
    chosen = run.arrays["deviation_quantile"].sel(layer=run.layer)
    values = chosen.isel(replica=replica.place).transpose("quantile", "step")
    recorded = np.isfinite(values.to_numpy()).all(axis=0)
    epochs = run.arrays["epoch"].to_numpy()
    return {
        "said": np.array(f"{replica.learner} learner, {family.say(run)}"),
        "epochs": epochs,
        "train_loss": replica.curve("train_loss"),
        "test_loss": replica.curve("test_loss"),
        "quantile_epochs": epochs[recorded],
        "levels": run.arrays["quantile"].to_numpy(),
        "quantiles": values.to_numpy()[:, recorded],
        "std": replica.curve("deviation_std", run.layer)[recorded],
        "transitions": np.array([replica.transition(one) for one in _TRANSITIONS]),
    }


def _say(family: Family, word: str, replica: Replica) -> str:
    run = replica.run
    rule = (
        "the widest that trains, of the lowest final train loss"
        if word == "stable"
        else "the largest jump of the loss, of those with a jump of the deviation too"
    )
    return (
        f"{replica.learner} learner of {family.say(run)} (replica {replica.place} of "
        f"{run.num_replicas}; chosen as {rule})"
    )


def paint(data: Mapping[str, Array], palette: Palette) -> Figure:
    """Loss above, deviation below, one column a network."""
    figure = new_figure(5.2)
    words = [str(word) for word in data["columns"]]
    axes = figure.subplots(
        3,
        len(words),
        sharex="col",
        sharey="row",
        squeeze=False,
        height_ratios=[1.2, 1.2, 0.9],
    )
    handles: dict[str, Any] = {}
    for place, word in enumerate(words):
        column = {
            name.removeprefix(f"{word}_"): values
            for name, values in data.items()
            if name.startswith(f"{word}_")
        }
        top, middle, bottom = axes[:, place]
        _paint_losses(top, column, palette)
        _paint_deviation(middle, column, palette)
        bottom.plot(column["quantile_epochs"], column["std"], color=palette.lines[2])
        bottom.set_xlabel("epoch")
        _mark_transitions(axes[:, place], column["transitions"], palette)
        name_panel(top, "ab"[place], str(column["said"]))
        for panel in (top, middle):
            lines, labels = panel.get_legend_handles_labels()
            handles |= dict(zip(labels, lines, strict=True))
    axes[2, 0].set_ylim(0, None)
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("deviation (weight)")
    axes[2, 0].set_ylabel("its std (weight)")
    shown = [label for label in _LEGEND if label in handles]
    figure.legend(
        [handles[label] for label in shown], shown, loc="outside lower center", ncols=3
    )
    return figure


def _paint_losses(axes: Axes, column: Mapping[str, Array], palette: Palette) -> None:
    for name, colour in (("train", palette.train), ("test", palette.test)):
        loss = column[f"{name}_loss"]
        axes.plot(column["epochs"], loss, color=colour, label=f"{name} loss")
    label_log(axes)


def _paint_deviation(axes: Axes, column: Mapping[str, Array], palette: Palette) -> None:
    epochs, quantiles = column["quantile_epochs"], column["quantiles"]
    colour = palette.lines[2]
    for outer, alpha, label in ((0, 0.22, "2 to 98 %"), (1, 0.4, "quartiles")):
        axes.fill_between(
            epochs,
            quantiles[outer],
            quantiles[-1 - outer],
            color=colour,
            alpha=alpha,
            linewidth=0,
            label=label,
        )
    axes.plot(
        epochs, quantiles[len(quantiles) // 2], color=colour, label="median deviation"
    )
    axes.axhline(0, color=palette.faint, linewidth=0.8, linestyle="--")


def _mark_transitions(panels: Array, transitions: Array, palette: Palette) -> None:
    colours = (palette.test, palette.train, palette.lines[2], palette.divergence)
    dashes = (":", "--", "-.", (0, (1, 3)))
    for epoch, label, colour, dash in zip(
        transitions, _TRANSITIONS.values(), colours, dashes, strict=True
    ):
        for panel in panels if np.isfinite(epoch) else []:
            panel.axvline(
                epoch, color=colour, linewidth=0.9, linestyle=dash, label=label
            )
