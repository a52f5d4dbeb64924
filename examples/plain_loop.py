"""How far does my model move? One line in a loop of your own.

    python examples/plain_loop.py

A small network learns the digits of scikit-learn. The tracker hangs on the optimizer
and keeps the start; the loop stays as it was. Afterwards `birthmark report runs` draws
what was recorded, and `birthmark serve runs` shows it while it comes.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import birthmark as bm

STORE = "runs"


def main(store: str = STORE, epochs: int = 10) -> bm.Tracker:
    """Train and say what has become of the start."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    tracker = bm.Tracker(
        model, optimizer, store=store, name="digits", fields={"lr": 3e-3}
    )
    for epoch in range(epochs):
        for index in torch.randperm(len(y)).split(64):
            loss = nn.functional.cross_entropy(model(x[index]), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            tracker.log(loss=loss.detach())
        tracker.log(epoch=epoch + 1)
    print(tracker.summary())
    tracker.finish()
    return tracker


if __name__ == "__main__":
    main()
