"""The names of `import birthmark as bm`, by use."""

from collections.abc import Iterator

import birthmark as bm

GROUPS: dict[str, tuple[str, ...]] = {
    "Watch your own training": ("Tracker",),
    "Check a start before the first step": ("check", "assert_healthy"),
    "Compare weights": (
        *("diff", "follow", "part", "measure", "to_parameters", "fingerprint"),
        *("rewind", "interpolate", "transplant"),
    ),
    "Initialize": ("draw", "initialize_", "Initializer", "initial_configuration"),
    "Train from a spec": (
        *("RunSpec", "run", "train", "batch_order", "estimate_memory", "load_dataset"),
    ),
    "Sweep and compare": ("Grid", "run_grid", "sweep", "preset", "compare"),
    "Read a store": (
        *("open_store", "read_survey", "find_findings", "find_transitions"),
        *("draw_figures", "write_report"),
    ),
    "Add something of your own": (
        *("register_measurement", "register_initialization", "register_figure"),
    ),
    "What passes through the doors": (
        *("Dataset", "Snapshot", "Weights", "Pair", "Study", "Survey"),
        "BirthmarkError",
    ),
}
_INTRODUCTION = """# Python

```python
import birthmark as bm
```

The names on this page are the front door; nothing else is promised to stay.
They are loaded when they are first used, and all but those that train, track or look
into models work without torch.
"""


def write() -> str:
    """The page of all public names, each from its docstring."""
    grouped = [name for names in GROUPS.values() for name in names]
    names = {*bm.__all__} - {"__version__"}
    assert len(grouped) == len({*grouped}), "a name stands in two groups"
    assert {*grouped} == names, sorted({*grouped} ^ names)
    lines = [_INTRODUCTION]
    for title, members in GROUPS.items():
        lines += [f"## {title}\n", *_say(members)]
    return "\n".join(lines)


def _say(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        yield f"### `bm.{name}`\n"
        yield "```{eval-rst}"
        if isinstance(getattr(bm, name), type):
            yield f".. autoclass:: birthmark.{name}\n   :members:"
        else:
            yield f".. autofunction:: birthmark.{name}"
        yield "```\n"
