"""Add a measurement of your own
=============================

A measurement is a function of a tensor at its start and now. Once it is registered it
stands in records, figures and reports beside the library's own.
"""

import torch

import birthmark as bm
from birthmark.figures import draw_survey, write_drawings

# %%
# Rows are replicas, in float64. This one asks how much of the squared deviation lies
# in the tenth of the weights that moved furthest: 0.1 if all moved alike, 1 if the
# others did not move at all.


def share_of_movers(pair: bm.Pair) -> torch.Tensor:
    """Share of the squared deviation in the tenth that moved furthest."""
    squares_RN = pair.deviation_RN.square()
    count = max(1, squares_RN.shape[1] // 10)
    return squares_RN.topk(count, dim=1).values.sum(1) / squares_RN.sum(1)


bm.register_measurement(share_of_movers, long_name="share of the furthest tenth")

# %%
# Any two models can be measured at once.

before = torch.nn.Linear(64, 32)
after = torch.nn.Linear(64, 32)
found = bm.measure(before, after)
print(found["share_of_movers"].sel(parameter="weight").values)

# %%
# Runs that begin from now on record it. A sweep over the learning rate:

spec = bm.RunSpec(
    data={"name": "digits"},
    network={"widths": [32, 32]},
    training={"epochs": 20},
    run={"replicas": 3},
)
grid = bm.Grid.over(spec, {"training.lr": [0.03, 0.1, 0.3]})
bm.run_grid(grid, "movers")

# %%
# In the figures that ``birthmark figures movers`` draws it has a panel of its own.

store = bm.open_store("movers")
for one in grid:
    shares = store.records(one.run_key)["share_of_movers"].sel(layer="hidden2")
    print(one.training.lr, shares.isel(step=-1).values.round(3))
drawings = draw_survey(bm.read_survey(store)).drawings
trends = [one for one in drawings if one.name.startswith("trends")]
for path in write_drawings(trends, "figures"):
    print(path)
