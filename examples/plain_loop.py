"""Watch a training of your own
============================

One line hangs a tracker on a model and its optimizer; the loop stays as it was.
Afterwards you know which tensors moved, how far, and what is left of the start.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import birthmark as bm

images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

# %%
# The tracker keeps a copy of the start and measures at steps 1, 2, 4, 8, ... and at the
# end. It reads parameters after a step, so there are no hooks.

tracker = bm.Tracker(model, optimizer, store="runs", name="digits", fields={"lr": 3e-3})

for epoch in range(10):
    for index in torch.randperm(len(y)).split(64):
        loss = nn.functional.cross_entropy(model(x[index]), y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tracker.log(loss=loss.detach())
    tracker.log(epoch=epoch + 1)

# %%
# *moved* is the distance from the start in lengths of the start: an independent second
# draw would stand at 1.41. *start left* is the correlation with the start: 1 is all of
# it, 0 is none.

print(tracker.summary())
tracker.finish()

# %%
# What was recorded is in the store ``runs``, as one table that knows its units.

store = bm.open_store("runs")
[run] = store.runs(name="digits").run_key
records = store.records(run, by="parameter")
print(records["correlation"].isel(replica=0, step=-1).to_series())

# %%
# ``birthmark report runs`` writes one HTML page of it, and ``birthmark serve runs``
# shows it in the browser while it comes.
