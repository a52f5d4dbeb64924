"""The protocol of runs in plain words, for the captions."""

from __future__ import annotations

from collections.abc import Sequence

from birthmark.analysis import (
    Candidate,
    Comparison,
    Family,
    Run,
    comparison_protocol,
)
from birthmark.spec import MarkSpec, RunSpec

_MOST_SAID = 8  # values of a field that are said
_MOST_LISTED = 24  # runs that are listed with their keys
_PREPROCESSING = {
    "unit": "pixels over the full scale",
    "inverted": "inverted pixels over the full scale",
    "standardized": "pixels standardized by one mean and deviation",
}


def describe_protocol(runs: Sequence[Run]) -> str:
    """What was trained and how, with the replicas and the key of each run.

    Where runs differ, all that they have stands side by side.
    """
    if any(run.given is None for run in runs):
        return _describe_tracked(runs)
    specs = [run.spec for run in runs]
    sentences = [
        _merge([[_data(run)] for run in runs]),
        _sentence([_network_parts(spec) for spec in specs], [_drawn(s) for s in specs]),
        _sentence([_training_parts(spec) for spec in specs]),
        f"Weights in {_merge([[spec.run.dtype] for spec in specs])}, products in "
        f"{_precision(runs)} precision.",
        _list_runs(runs),
    ]
    return "Protocol: " + " ".join(sentences)


def _describe_tracked(runs: Sequence[Run]) -> str:
    names = dict.fromkeys(str(run.fields.get("name") or "unnamed") for run in runs)
    fields = {
        name: value
        for name, value in runs[0].fields.items()
        if name not in ("kind", "name")
        and all(run.fields.get(name) == value for run in runs)
    }
    shared = ", ".join(f"{name} {value}" for name, value in fields.items())
    keys = ", ".join(run.run_key for run in runs[:_MOST_LISTED])
    return (
        f"Protocol: recorded in a loop of its own: {_either(list(names))}. "
        f"{f'Common to all: {shared}. ' if shared else ''}Runs: {keys}."
    )


def describe_family(family: Family) -> str:
    """The protocol of all runs of a family that are shown along its axis."""
    return describe_protocol([run for line in family.lines for run in line.study])


def describe_comparison(comparison: Comparison) -> str:
    """The protocol that all initializations share, with the run keys."""
    first = comparison.candidates[0]
    spec = first.spec
    widths = "-".join(map(str, spec.network.widths))
    network = (
        f"{_layers(spec)}, widths {widths}; biases {spec.initialization.bias.name}."
    )
    sentences = [
        _data(first),
        network,
        _training(spec),
        f"Weights in {spec.run.dtype}, products in {spec.run.precision} precision.",
        f"n = {comparison.num_replicas} pairs, seed {spec.run.seed}, budget "
        f"{comparison.budget:,} steps each.",
    ]
    if first.own:  # what a spec does not know
        said = comparison_protocol(comparison)
        sentences = [f"{name.capitalize()}: {words}." for name, words in said.items()]
        sentences += [f"n = {comparison.num_replicas} pairs."]
    keys = [f"{one.name} {one.run_key}" for one in comparison.candidates if one.run_key]
    sentences += [f"Runs: {'; '.join(keys)}."] if keys else []
    return "Protocol: " + " ".join(sentences)


def describe_mark(mark: MarkSpec) -> str:
    """`the letter "a" was drawn into hidden2 by setting weights to zero`."""
    what = f'the image "{mark.image}"' if mark.text is None else f'"{mark.text}"'
    how = {
        "zero": "setting weights to zero",
        "scale": f"scaling weights by {mark.value}",
        "shift": f"shifting weights by {mark.value}",
    }[mark.mode]
    return f"{what} was drawn into {mark.layer} by {how}"


def _data(run: Run | Candidate) -> str:
    data = run.spec.data
    facts = (run.arrays if isinstance(run, Run) else run.records).attrs
    parts = [_PREPROCESSING[data.preprocessing]]
    parts += [f"fold {data.fold}"] if data.name == "hasyv2" else []
    parts += [f"its first {data.classes} classes"] if data.classes else []
    train, test = facts["data.num_train"], facts["data.num_test"]
    parts.append(f"{train:,} training and {test:,} test examples")
    return f"{data.name} ({', '.join(parts)})."


def _drawn(spec: RunSpec) -> list[str]:
    rule = spec.initialization
    others = f" with other rules for {', '.join(rule.layers)}" if rule.layers else ""
    parameters = ", ".join(
        f" {name} {value:g}" if isinstance(value, float) else f" {name} {value}"
        for name, value in rule.parameters.items()
        if not name.endswith("_sha256")
    )
    return [f"weights {rule.name}{parameters}{others}", f"biases {rule.bias.name}"]


def _layers(spec: RunSpec) -> str:
    return ", ".join(_network_parts(spec))


def _network_parts(spec: RunSpec) -> list[str]:
    network = spec.network
    layers = len(network.widths)
    parts = [
        f"{network.kind.capitalize()} network with {layers} hidden "
        f"{_plural('layer', layers)}",
        network.activation,
    ]
    if network.is_convolutional:
        parts.append(f"kernel {network.kernel}x{network.kernel}")
    if network.downsample:
        numbers = ", ".join(map(str, network.downsample))
        parts.append(
            f"stride 2 in {_plural('layer', len(network.downsample))} {numbers}"
        )
    if network.residual != "none":
        scale = f"scale {network.branch_scale:g}{', trained' * network.train_scales}"
        parts.append(f"skips around blocks of {network.block} ({scale})")
    parts += [f"dropout {network.dropout:g}"] if network.dropout else []
    return parts


def _precision(runs: Sequence[Run]) -> str:
    """`full`, or `full (width 150) and bf16 (width 250)`."""
    widths: dict[str, set[int]] = {}
    for run in runs:
        widths.setdefault(run.spec.run.precision, set()).add(run.width)
    if len(widths) == 1:
        return next(iter(widths))
    return " and ".join(
        f"{name} ({_plural('width', len(some))} {', '.join(map(str, sorted(some)))})"
        for name, some in widths.items()
    )


def _training(spec: RunSpec) -> str:
    return _sentence([_training_parts(spec)])


def _training_parts(spec: RunSpec) -> list[str]:
    training = spec.training
    loss = training.loss.replace("_", " ")
    if training.loss == "clipped_cross_entropy":
        loss += f" (eps {training.eps:g})"
    parts = [loss, training.optimizer, f"lr {training.lr:g}"]
    parts += [f"momentum {training.momentum:g}"] if training.momentum else []
    parts += ["Nesterov"] if training.nesterov else []
    if training.weight_decay:
        parts.append(f"weight decay {training.weight_decay:g}")
    if training.schedule.name != "constant":
        parts.append(f"{training.schedule.name} schedule")
    parts += [
        f"batch {training.batch_size}",
        f"{training.epochs} epochs",
        f"{training.batch_order} order of batches",
    ]
    if training.shuffle_buffer is not None:
        parts.append(f"shuffled in a buffer of {training.shuffle_buffer:,}")
    return parts


def _sentence(*clauses: Sequence[Sequence[str]]) -> str:
    """Parts of each run as one sentence: `Sgd, lr 0.1 or 0.3, batch 32.`."""
    text = "; ".join(_merge(parts) for parts in clauses)
    return f"{text[0].upper()}{text[1:]}."


def _merge(parts: Sequence[Sequence[str]]) -> str:
    """What all runs say, part by part; where they differ, what each says."""
    if len({len(one) for one in parts}) > 1:  # what one has, another lacks
        return " or ".join(dict.fromkeys(", ".join(one) for one in parts))
    return ", ".join(
        _either(list(dict.fromkeys(each))) for each in zip(*parts, strict=True)
    )


def _either(said: list[str]) -> str:
    """`lr 0.1, 0.3 or 1`; of many the first and the last."""
    head, _, _ = said[0].rpartition(" ")
    if head and all(one.rpartition(" ")[0] == head for one in said):
        said = said[:1] + [one.rpartition(" ")[2] for one in said[1:]]
    if len(said) > _MOST_SAID:
        said = [said[0], f"... ({len(said)} values)", said[-1]]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} or {said[-1]}"


def _list_runs(runs: Sequence[Run]) -> str:
    if len(runs) > _MOST_LISTED:
        return f"{len(runs)} runs, {runs[0].run_key} to {runs[-1].run_key}."
    return f"Runs: {'; '.join(_run(run) for run in runs)}."


def _run(run: Run) -> str:
    spec = run.spec
    widths = "-".join(map(str, spec.network.widths))
    mark = "" if spec.mark is None else ", marked"
    replicas = run.arrays.sizes["replica"]
    return f"{widths}{mark} (n = {replicas}, seed {spec.run.seed}) {run.run_key}"


def _plural(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"
