"""What became of a checkpoint?
============================

Two files are enough: which tensors moved, how far, and whether the second was trained
from the first at all. Three questions more need the model.
"""

import copy

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn

import birthmark as bm

x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)

torch.manual_seed(0)
model = nn.Sequential(
    *(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()),
    nn.Linear(128, 10),
)
start = copy.deepcopy(model.state_dict())
save_file(start, "step0.safetensors")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for step in range(1, 401):
    chosen = torch.randint(len(x), (64,))
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x[chosen]), y[chosen]).backward()
    optimizer.step()
    if step in (20, 400):
        save_file(model.state_dict(), f"step{step}.safetensors")

# %%
# Beside each number stands what an independent second draw would give. The same is
# ``birthmark diff step0.safetensors step400.safetensors``.

compared = bm.diff("step0.safetensors", "step400.safetensors")
print(compared)

# %%
# Every tensor has all its readings, for programs:

print(compared["2.weight"].readings["correlation"])

# %%
# A row of checkpoints is a trajectory, and goes into a store like a tracked training.

files = ["step0.safetensors", "step20.safetensors", "step400.safetensors"]
bm.follow(files, store="runs", name="followed", fields={"lr": 0.1})
records = bm.open_store("runs").runs(name="followed")
print(records[["run_key", "name", "state"]].to_string(index=False))


# %%
# Does the model need what its layers have learned? Put one after the other back to its
# start, and evaluate.


def evaluate(model: nn.Module) -> torch.Tensor:
    """The loss on all examples."""
    return nn.functional.cross_entropy(model(x), y)


print(bm.rewind(model, start, evaluate))

# %%
# And is there a barrier on the straight line from the start to the end?

print(bm.interpolate(model, start, evaluate, points=6))
