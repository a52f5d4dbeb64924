"""A check-up as tables, as plain text and as JSON."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from birthmark.checkup.thresholds import LOGIT_STD
from birthmark.wording import align, say_count, to_json

if TYPE_CHECKING:
    from birthmark.checkup.readings import CheckUp, Outcome

Table = tuple[list[str], list[list[str]]]


LEGEND: dict[str, str] = {
    "layer": "dotted path of the module, or name of the matrix",
    "kind": "class of the module",
    "units": "features or channels that come out",
    "signal": "second moment of the outputs; after ~ what mean-field theory predicts",
    "gradient": "second moment of the gradient of one example's loss by the outputs",
    "correlation": "cosine of two inputs' outputs, mean over pairs",
    "distortion": "spread of the ratio of distances behind to distances before",
    "neighbours": "share of the five nearest neighbours that are still among them",
    "then": "the activation that follows",
    "silent": "share of units never above 0, or of outputs in saturation",
    "no gradient": "share of units whose gradient is exactly 0",
    "tensor": "name of the parameter",
    "shape": "its sides",
    "role": "what it does in the forward pass: weight, embedding, scale, bias, ...",
    "law": "from which law it was drawn, with its numbers",
    "default": "whether torch draws this kind of layer so",
    "near 0": "share of numbers below 1 % of the root mean square",
    "rank": "of the weights as a matrix [out, in]",
    "condition": "largest over smallest singular value",
    "null space": "directions of the input that vanish / of the output never reached",
    "distinct units": "units with weights of their own",
    "update": "the optimizer's first step over the tensor's own size",
}


def say_verdict(checkup: CheckUp) -> str:
    """Whether it will train, what was read, and what was not."""
    counts = {
        level: sum(f.level == level for f in checkup.findings)
        for level in ("error", "warning", "note")
    }
    said = [say_count(n, level) for level, n in counts.items() if n]
    if counts["error"]:
        head = f"will not train as it is ({', '.join(said)})"
    elif counts["warning"]:
        head = f"worth a change before training ({', '.join(said)})"
    else:
        head = f"healthy ({said[0]})" if said else "healthy"
    told = sum(t.role != "other" for t in checkup.tensors)
    read = f"{told} of {len(checkup.tensors)} tensors, {len(checkup.layers)} layers"
    if checkup.outcome is not None and checkup.outcome.loss is not None:
        read += f", loss {checkup.outcome.loss:.4g} by {checkup.outcome.loss_name}"
    text = f"{checkup.model}: {head}. Read: {read}."
    if checkup.unread:
        names = ", ".join(reason.partition(":")[0] for reason in checkup.unread)
        text += f" Not read: {names}."
    return text


def worst_table(checkup: CheckUp, count: int) -> Table:
    """The layers and tensors that findings name, gravest first."""
    layers = {layer.name: layer for layer in checkup.layers}
    tensors = {t.name: t for t in checkup.tensors}
    rows: list[list[str]] = []
    named: set[str] = set()
    for finding in checkup.findings:
        for name in finding.where[:2]:
            if name in named or len(rows) == count:
                continue
            named.add(name)
            tensor = tensors.get(name)
            layer = layers.get(name) or (tensor and layers.get(tensor.layer))
            source = tensor.gradient if tensor else None
            gradient = layer.backward if layer else source
            rows.append(
                [
                    name or "(model)",
                    f"{finding.level}: {finding.name}",
                    tensor.law if tensor else layer.kind if layer else "",
                    _say(layer.forward, ".2e") if layer else "",
                    _say(gradient, ".2e"),
                ]
            )
    return ["where", "finding", "law or kind", "signal", "gradient"], rows


def write_summary(checkup: CheckUp) -> str:
    """The verdict, the five worst rows, and where the rest is."""
    lines = [say_verdict(checkup), ""]
    header, rows = worst_table(checkup, 5)
    if rows:
        lines += [*align(header, rows), ""]
    lines.append(
        f"{len(checkup.findings)} findings, {len(checkup.layers)} layers and "
        f"{len(checkup.tensors)} tensors: text(), to_json(), birthmark check --html."
    )
    return "\n".join(lines) + "\n"


def write_fragment(checkup: CheckUp) -> str:
    """HTML for notebooks: the verdict, the drawing, the findings."""
    parts = [f"<p><b>{escape(say_verdict(checkup))}</b></p>", checkup.svg()]
    parts += [
        f"<p><b>{f.level}</b> <code>{f.name}</code> {escape(f.what)} "
        f"<i>{escape(f.advice)}</i></p>"
        for f in checkup.findings
    ]
    return "\n".join(parts)


def say_legend(header: list[str]) -> list[str]:
    """One line a column."""
    return [f"{name}: {LEGEND[name]}." for name in header if name in LEGEND]


def layer_table(checkup: CheckUp) -> Table:
    """One line a layer; `~` stands before what theory predicts."""
    header = ["layer", "kind", "units", "signal", "gradient", "correlation"]
    header += ["distortion", "neighbours", "then", "silent", "no gradient"]
    rows = [
        [
            layer.name or "(model)",
            layer.kind,
            _say(layer.num_units),
            _pair(layer.forward, layer.forward_predicted),
            _pair(layer.backward, layer.backward_predicted),
            _pair(layer.correlation, layer.correlation_predicted, ".3f"),
            _say(layer.distortion, ".2f"),
            _say(layer.neighbours, ".0%"),
            layer.activation,
            _say(layer.dead if layer.dead is not None else layer.saturated, ".0%"),
            _say(layer.zero_gradient, ".0%"),
        ]
        for layer in checkup.layers
    ]
    return header, rows


def tensor_table(checkup: CheckUp) -> Table:
    """One line a parameter."""
    header = ["tensor", "shape", "role", "law", "default", "near 0", "rank"]
    header += ["condition", "null space", "distinct units", "gradient"]
    header += ["update"] if checkup.has_optimizer else []
    rows = [
        [
            t.name,
            "x".join(map(str, t.shape)),
            t.role,
            t.law,
            {True: "yes", False: "no", None: ""}[t.is_default],
            _say(t.near_zero, ".1%"),
            _say(t.rank),
            _say(t.condition, ".3g"),
            "" if t.nullity is None else f"{t.nullity} / {t.nullity_transposed}",
            "" if t.num_units is None else f"{t.distinct_units} of {t.num_units}",
            _say(t.gradient, ".2e") if t.trainable else "frozen",
            *([_say_update(t.update, t.std)] if checkup.has_optimizer else []),
        ]
        for t in checkup.tensors
    ]
    return header, rows


def summarize(checkup: CheckUp) -> list[str]:
    """What was checked and what came out, a sentence each."""
    o = checkup.outcome
    mode = "training" if checkup.training else "evaluation"
    text = (
        f"{checkup.model}: {checkup.num_parameters:,} parameters, "
        f"{len(checkup.layers)} layers, {checkup.num_examples} examples, "
        f"{mode} mode, {checkup.seconds:.1f} s."
    )
    if o is not None and o.loss is not None:
        text += f" Initial loss {o.loss:.4g} ({o.loss_name})"
        if o.loss_expected is not None and (o.logit_std or 0) <= LOGIT_STD:
            text += (
                f", expected {o.loss_expected:.4g} = {_say_ignorance(o)}, with s = "
                f"{o.logit_std:.3g}"
            )
        text += "."
    return [text, *_say_curvature(checkup)]


def _say_ignorance(o: Outcome) -> str:
    """The law of the first loss, in units of what equal classes cost."""
    usual = math.log(o.num_classes or 1)
    law = f"ln {o.num_classes} + (1 - 1/{o.num_classes}) s^2 / 2"
    factor = (o.loss_of_equal or usual) / usual
    return law if abs(factor - 1) < 1e-3 else f"{factor:.4g} ({law})"


def _say_curvature(checkup: CheckUp) -> list[str]:
    """The deep part, a line each."""
    found = checkup.curvature
    lines = []
    if found is not None and found.jacobian is not None:
        said = ", ".join(
            f"{name.replace('_', ' ')} {value:.3g}"
            for name, value in found.jacobian.items()
        )
        lines.append(f"Jacobian of the outputs by the inputs, singular values: {said}.")
    if found is not None and found.sharpness is not None:
        line = f"Sharpness {found.sharpness:.4g}"
        if found.sharpness > 0:
            stable = 2 / found.sharpness
            line += f": plain gradient descent is stable up to lr = {stable:.3g}"
        lines.append(line + ".")
    return lines


def write_text(checkup: CheckUp) -> str:
    """Findings first, then the tables."""
    lines = [say_verdict(checkup), *summarize(checkup), ""]
    if not checkup.findings:
        lines += ["No findings.", ""]
    for finding in checkup.findings:
        lines.append(f"{finding.level.upper()} [{finding.name}] {finding.what}")
        lines.append(f"  Why: {finding.why}")
        if finding.advice:
            lines.append(f"  Do: {finding.advice}")
        source = f" Source: {finding.source}." if finding.source else ""
        lines += [f"  How: {finding.how}.{source}", ""]
    for table in (layer_table(checkup), tensor_table(checkup)):
        lines += [*align(*table), "", *say_legend(table[0]), ""]
    lines += [f"Not read: {reason}" for reason in checkup.unread]
    return "\n".join(lines).rstrip() + "\n"


def write_json(checkup: CheckUp) -> str:
    """Every field, by the names of the dataclasses."""
    return to_json(checkup)


def _say(value: float | None, form: str = "") -> str:
    return "" if value is None else format(value, form)


def _say_update(update: float | None, std: float) -> str:
    return "" if update is None or std == 0 else f"{update / std:.1e}"


def _pair(measured: float | None, predicted: float | None, form: str = ".2e") -> str:
    if measured is None:
        return ""
    text = format(measured, form)
    return text if predicted is None else f"{text} ~{format(predicted, form)}"
