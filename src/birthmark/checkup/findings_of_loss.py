"""Findings about outputs and loss: is the start what knowing nothing costs?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from birthmark.checkup.readings import CheckUp
from birthmark.checkup.thresholds import (
    ERRORS,
    FEWEST_LABELS,
    LOGIT_STD,
    LOSS_FACTOR,
    TARGET_MOMENT,
)
from birthmark.shapes import Finding


def nonfinite_loss(checkup: CheckUp) -> Iterator[Finding]:
    """A loss that is NaN or Inf before the first step."""
    loss = checkup.outcome.loss if checkup.outcome else None
    if loss is not None and not math.isfinite(loss):
        yield Finding(
            what=f"The loss is {loss} before the first step.",
            why="No step can mend it.",
            how="computed on the batch",
            level="error",
            name="nonfinite_loss",
            advice="Look at the layers named above, and at logarithms of 0.",
        )


def cut_loss(checkup: CheckUp) -> Iterator[Finding]:
    """A loss that nothing can lower."""
    if not checkup.circuits.is_cut:
        return
    o = checkup.outcome
    what = "loss" if o is not None and o.loss is not None else "output"
    yield Finding(
        what=f"The {what} depends on no parameter.",
        why="No gradient comes back, so that nothing learns.",
        how="it asks for no gradient, though all parameters did",
        source="torch.Tensor.requires_grad",
        level="error",
        name="detached",
        advice="Look for a detach(), no_grad(), an argmax, or numbers taken out as "
        "NumPy's or Python's, from the last layer on.",
    )


def initial_loss(checkup: CheckUp) -> Iterator[Finding]:
    """The first loss against ln C + (1 - 1/C) s^2 / 2."""
    o = checkup.outcome
    if o is None or o.loss is None or o.loss_expected is None or not o.num_classes:
        return
    if not math.isfinite(o.loss) or o.are_probabilities or o.loss < 0:
        return
    usual = math.log(o.num_classes)
    nothing = o.loss_of_equal or usual
    heads = _heads(checkup)
    s = o.logit_std or 0.0
    how = (
        f"{o.num_classes} classes, equal ones cost {nothing:.3f} (ln C = {usual:.3f}), "
        f"logits with std s = {s:.3g}: "
        f"expected {o.loss_expected:.3f} (exact to 9 % up to s = {LOGIT_STD:g})"
    )
    source = "ln C + (1 - 1/C) s^2 / 2, second order in s"
    if o.loss > LOSS_FACTOR * nothing or s > LOGIT_STD:
        high = o.loss > LOSS_FACTOR * nothing
        yield Finding(
            what=f"The initial loss is {o.loss:.3g}, where knowing nothing costs "
            f"{nothing:.3g}: the logits spread by {s:.3g}.",
            why="The first steps only shrink the logits, and confident wrong answers "
            "make large gradients.",
            how=how
            + f"; warning at {LOSS_FACTOR:g} times that, note at s = {LOGIT_STD:g}",
            source=source,
            level="warning" if high else "note",
            values={"loss": o.loss, "expected": o.loss_expected, "logit_std": s},
            name="high_initial_loss",
            where=heads,
            advice=f"Draw {heads[0] if heads else 'the last layer'} smaller, by about "
            f"{max(s, 1):.2g}; tied embeddings by 1 / sqrt(width).",
        )
    elif o.loss_error is not None and o.loss < o.loss_expected - max(
        ERRORS * o.loss_error, 0.09 * nothing
    ):
        yield Finding(
            what=f"The initial loss is {o.loss:.3g}, below the "
            f"{o.loss_expected:.3g} of a network that knows nothing.",
            why="The outputs know the labels already.",
            how=how + f"; standard error {o.loss_error:.2g}",
            source=source,
            level="note",
            values={"loss": o.loss, "expected": o.loss_expected},
            name="low_initial_loss",
            advice="Nothing for a trained model; otherwise look for labels among the "
            "inputs.",
        )


def wrong_outputs(checkup: CheckUp) -> Iterator[Finding]:
    """Probabilities given to a loss that takes logits, or the other way round."""
    o = checkup.outcome
    if o is None or o.loss is None:
        return
    if checkup.circuits.unlikely:
        name, total = checkup.circuits.unlikely
        yield Finding(
            what=f"The loss {name.removesuffix('_forward').strip('_')} takes "
            "logarithms of probabilities, and what it gets adds up to "
            f"{total:.3g}, not 1.",
            why="It rewards a number for being large, whatever the others are: the "
            "loss has no lower end, and its gradient no balance between classes.",
            how="sum over the classes of exp of its first argument, median over the "
            "batch",
            source="torch.nn.NLLLoss; torch.nn.CTCLoss",
            level="error",
            values={"total": total},
            name="wrong_outputs",
            where=_heads(checkup),
            advice="Put log_softmax over the classes in front of it.",
        )
    elif _is_squeezed(checkup, "sigmoid"):
        yield Finding(
            what="A sigmoid has squeezed the outputs before the loss, which takes "
            "logits.",
            why="The loss squeezes the outputs again: probabilities between 0.5 and "
            "0.73 are all that it can see, gradients are small, and it cannot fall "
            "near 0.",
            how="operations behind the last matrix, in model and loss: sigmoid, then "
            f"{checkup.circuits.squeezed[1].strip('_')}",
            source="torch.nn.BCEWithLogitsLoss",
            level="warning",
            name="sigmoid_before_logits",
            where=_heads(checkup),
            advice="Take out the sigmoid, or use binary_cross_entropy on "
            "probabilities.",
        )
    elif (o.are_probabilities and o.loss_takes_logits) or _is_squeezed(
        checkup, "_softmax"
    ):
        count = o.num_classes or 2
        yield Finding(
            what="The outputs are probabilities, and the loss takes their softmax "
            "again.",
            why=f"With {count} classes a second softmax keeps each probability "
            f"below {_largest(count):.2g}: the loss cannot fall below "
            f"{-math.log(_largest(count)):.2g}, and gradients are small.",
            how="two of them behind the last matrix, in model and loss; or outputs in "
            "[0, 1] that add up to 1, and a loss that does not change when a constant "
            "is added to them",
            source="torch.nn.CrossEntropyLoss",
            level="warning",
            name="double_softmax",
            where=_heads(checkup),
            advice="Take out the first softmax, and keep cross_entropy.",
        )


def _is_squeezed(checkup: CheckUp, by: str) -> bool:
    return checkup.circuits.squeezed[0] == by


def _heads(checkup: CheckUp) -> tuple[str, ...]:
    """Tensors whose products are the outputs."""
    return tuple(t.name for t in checkup.tensors if t.is_output)


def unusual_targets(checkup: CheckUp) -> Iterator[Finding]:
    """Targets that the outputs cannot reach, and batches of one class."""
    o = checkup.outcome
    if o is None:
        return
    q, out = o.target_moment, o.output_moment or 0.0
    large = q is not None and q > TARGET_MOMENT * max(out, 1)
    small = q is not None and 0 < q * TARGET_MOMENT < min(out, 1)
    if q is not None and not o.num_classes and (large or small):
        yield Finding(
            what=f"The targets have a root mean square of {math.sqrt(q):.3g}, the "
            f"outputs one of {math.sqrt(out):.3g}.",
            why="The first steps do nothing but move the last bias, with gradients "
            "that much too large for the rest."
            if large
            else "Beside such outputs the targets are zero: at first the network only "
            "learns to be silent.",
            how=f"second moments over the batch, lines at {TARGET_MOMENT:g} times the "
            "outputs' and as far below them",
            source="LeCun et al. 1998, section 4.3",
            level="warning",
            values={"second_moment": q},
            name="unusual_targets",
            where=_heads(checkup),
            advice="Standardize the targets, by the mean and standard deviation of the "
            "training set.",
        )
    few = checkup.num_examples < FEWEST_LABELS or (o.num_classes or 0) < 2
    if o.num_labels == 1 and not few:
        yield Finding(
            what=f"All {checkup.num_examples} examples of the batch have one class, of "
            f"{o.num_classes}.",
            why="The loss falls by answering always the same; nothing can be said "
            "about how the network tells classes apart.",
            how="different labels in the batch",
            level="warning",
            values={"labels": 1.0},
            name="one_class",
            advice="Shuffle the training set, and check with a batch of several "
            "classes.",
        )


def abandoning_loss(checkup: CheckUp) -> Iterator[Finding]:
    """A loss that clips probabilities gives no gradient to its worst examples."""
    o = checkup.outcome
    if o is not None and o.clip is not None:
        yield Finding(
            what=f"The loss gives an example no gradient once the probability of its "
            f"true class is below {o.clip:.1e}.",
            why="Such an example is abandoned: it cannot pull the network back. A "
            f"network that abandons all stands at a loss of {-math.log(o.clip):.2f}.",
            how="the loss was asked for its gradient at falling probabilities",
            source="Keras 3, keras.losses on PyTorch and JAX (eps = 1e-7); Jesus et "
            "al. 2012.02550, the plateau near 16",
            level="warning",
            values={"eps": o.clip},
            name="abandoning_loss",
            advice="Compute the loss from logits (from_logits=True, cross_entropy).",
        )


def constant_outputs(checkup: CheckUp) -> Iterator[Finding]:
    """The same outputs for all inputs, though the inputs differ."""
    o = checkup.outcome
    if o is None or not o.constant or not o.inputs_differ:
        return
    openers = [
        t.name
        for t in checkup.tensors
        if t.family == "zeros"
        and t.role in ("weight", "scale")
        and (t.gradient or 0) > 0
    ]
    yield Finding(
        what="The outputs are exactly the same for all inputs"
        + (f", since {openers[0]} is zero." if openers else "."),
        why="Only the biases of the last layer can learn."
        if not openers
        else "The first step changes that, as the zeros get a gradient.",
        how="compared exactly over the batch",
        level="note" if openers else "error",
        name="constant_outputs",
        where=tuple(openers),
        advice="Nothing, if the zeros are meant."
        if openers
        else "Look for zero weights, silent layers, or numbers too small for the type.",
    )


def unstable_step(checkup: CheckUp) -> Iterator[Finding]:
    """Sharpness against the learning rate."""
    sharpness = checkup.curvature.sharpness if checkup.curvature else None
    if sharpness is None or checkup.lr is None or sharpness * checkup.lr <= 2:
        return
    yield Finding(
        what=f"The sharpness is {sharpness:.3g}, above 2 / lr = {2 / checkup.lr:.3g}.",
        why="Gradient descent with this step climbs along the steepest direction: the "
        "loss jumps, or the network is thrown to a flatter place.",
        how="largest eigenvalue of the Hessian on the batch (scipy eigsh); plain "
        "gradient descent",
        source="Cohen et al. 2103.00065; Lewkowycz et al. 2003.02218",
        level="warning",
        values={"sharpness": sharpness, "line": 2 / checkup.lr},
        name="unstable_step",
        advice=f"Start with lr below {2 / sharpness:.2g}, or warm up.",
    )


def _largest(num_classes: int) -> float:
    """The largest softmax of probabilities: e / (e + C - 1)."""
    return math.e / (math.e + num_classes - 1)


LOSS_FINDINGS = (
    nonfinite_loss,
    cut_loss,
    initial_loss,
    wrong_outputs,
    unusual_targets,
    abandoning_loss,
    constant_outputs,
    unstable_step,
)
