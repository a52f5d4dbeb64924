"""The run that most questions ask of: a dense network, plain SGD, on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from birthmark.spec import RunSpec


def dense_spec(
    protocol: Any,
    *,
    training: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
    **tables: Any,
) -> RunSpec:
    """The run that the fields of a protocol say, and what they do not.

    Two hidden layers of its `width`, or as many as its `depth`; the loss is taken from
    logits; `lr`, `batch_size` and `epochs` are the protocol's where it has them.

    Args:
        protocol: Frozen, with at least `data`, `width` and `replicas`.
        training: What is not said by it, or otherwise than by it.
        run: Likewise.
        tables: Likewise: whole tables, such as `record`.
    """
    tables.setdefault("data", protocol.data)
    said = {
        name: getattr(protocol, name)
        for name in ("lr", "batch_size", "epochs")
        if hasattr(protocol, name)
    }
    return RunSpec(
        network={"widths": [protocol.width] * getattr(protocol, "depth", 2)},
        training={"loss": "cross_entropy", **said, **(training or {})},
        run={"replicas": protocol.replicas, "seed": 0, "device": "cpu", **(run or {})},
        **tables,
    )


def standardized(protocol: Any) -> dict[str, Any]:
    """The table `data` of so many standardized examples of each class."""
    return {
        "name": protocol.data,
        "preprocessing": "standardized",
        "examples_per_class": protocol.examples_per_class,
    }
