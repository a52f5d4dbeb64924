"""Which learning rate loses the start?
====================================

A sweep over learning rate and width, and its phase diagram: where networks learn, where
they forget what they had learned, and how much of the start is left.
"""

import birthmark as bm
from birthmark.analysis import read_phases
from birthmark.figures import draw_phases, write_drawings

# %%
# Two fields are varied, and each pair is trained with three replicas. What is done
# already is not run again: add a value and start it once more, and only that is new.

spec = bm.RunSpec(
    data={"name": "digits"},
    training={"epochs": 30},
    run={"replicas": 3},
    record={"epochs": "log", "distributions": []},
)
grid = bm.Grid.over(
    spec,
    {
        "network.widths": [[8, 8], [16, 16], [32, 32], [64, 64]],
        "training.lr": [0.05, 0.2, 0.8],
    },
)
results = bm.run_grid(grid, "sweep")

# %%
# Correlation of the weights between the hidden layers with their start, at the end:

for one, result in zip(grid, results, strict=True):
    kept = result.records["correlation"].sel(layer="hidden2").isel(step=-1)
    loss = result.records["test_loss"].isel(step=-1)
    print(
        f"width {one.network.widths[0]:3d}, lr {one.training.lr:4.2f}: "
        f"start left {float(kept.mean()):.3f}, test loss {float(loss.mean()):.3f}"
    )

# %%
# The phase diagram of the store, in colours of the correlation. The same is
# ``birthmark phase sweep -x widths -y lr --colour correlation``.

phases = read_phases(bm.open_store("sweep"), "widths", "lr", colour="correlation")
for path in write_drawings([draw_phases(phases)], "sweep/figures"):
    print(path)
