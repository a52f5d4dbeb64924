"""What a store holds, by name: asked of a run and of a tracked loop made for it."""

import tempfile
from collections.abc import Iterator

import numpy as np
import torch
import xarray as xr

import birthmark as bm
from reference.tables import say_table

_SPEC = {
    "data": {"name": "digits", "examples_per_class": 20},
    "network": {"widths": [16, 16]},
    "mark": {"text": "a"},
    "training": {"epochs": 2},
    "run": {"replicas": 2, "device": "cpu"},
}
_INTRODUCTION = """# Records: names, dims, units, bins

`bm.open_store("runs").records(key)` is an `xarray.Dataset`; every variable says its
`long_name` and `units`.
What the names mean: [the deviation](../concepts/deviation.md) and the
[glossary](../glossary.md).

A unit of `weight` scales with the weights, `1` does not, `nat` is a loss; `bound` is
the half-width of the initial axis of that layer.
Scalars are recorded at `record.epochs`, what lies along `distribution_step` at
`record.distributions`.
"""


def write() -> str:
    """The page of all variables."""
    with tempfile.TemporaryDirectory() as folder:
        run = bm.run(bm.RunSpec(**_SPEC), store=folder).records
        tracked = _track(folder)
    lines = [_INTRODUCTION, "## A run of a spec\n", *_say(run)]
    lines += [
        "The same with `bias_` before the name is of the biases; these have no spectra "
        "and no mark.\n",
        "## Coordinates and bins\n",
        *_say_coordinates(run),
        "Bins are right-open, and the outermost are open to infinity: counts add up to "
        "the number of finite weights.\n",
        "## A training of your own (`bm.Tracker`)\n",
        "Along `parameter` lie `layer`, `role`, `kind` and `shape` as coordinates; "
        "what "
        "you log yourself stands under the name you give it.\n",
        *_say(tracked),
        "A [measurement of your own](../how-to/measurements-and-figures.md) stands "
        "beside these.\n",
    ]
    return "\n".join(lines)


def _track(folder: str) -> xr.Dataset:
    model = torch.nn.Linear(8, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tracker = bm.Tracker(model, optimizer, store=folder, name="for the reference")
    for _ in range(4):
        loss = model(torch.randn(16, 8)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tracker.log(loss=loss)
    tracker.finish()
    store = bm.open_store(folder)
    runs = store.runs()
    [key] = runs.run_key[runs.name == "for the reference"]
    return store.records(key, by="parameter")


def _say(records: xr.Dataset) -> Iterator[str]:
    """The variables by their dims, those with the fewest first."""
    by_dims: dict[tuple[str, ...], list[list[str]]] = {}
    for name, variable in records.data_vars.items():
        if str(name).startswith("bias_"):
            continue
        said = variable.attrs
        row = [f"`{name}`", said.get("units", ""), said.get("long_name", "")]
        by_dims.setdefault(tuple(map(str, variable.dims)), []).append(row)
    for dims in sorted(by_dims, key=lambda dims: (len(dims), dims)):
        yield f"Along {', '.join(f'`{dim}`' for dim in dims) or 'nothing'}:\n"
        yield from say_table(["name", "unit", "what it is"], by_dims[dims])


def _say_coordinates(records: xr.Dataset) -> Iterator[str]:
    rows = []
    for name, values in records.coords.items():
        said = values.attrs
        rows.append(
            [
                f"`{name}`",
                str(values.size),
                said.get("units", ""),
                said.get("long_name", ""),
                _range(values.to_numpy()),
            ]
        )
    yield from say_table(["name", "values", "unit", "what it is", "here"], rows)


def _range(values: np.ndarray) -> str:
    if values.dtype.kind in "OUS" or values.size < 12:
        return ", ".join(f"`{one}`" for one in values.ravel()[:12].tolist())
    return f"from {values.min():.4g} to {values.max():.4g}"
