"""Lightning
=========

A callback watches the module that is trained. ``pip install pytorch-lightning``.
"""

import pytorch_lightning as lightning
import torch
from sklearn.datasets import load_digits
from torch import nn

from birthmark.integrations.lightning import TrackerCallback


class Digits(lightning.LightningModule):
    """Two layers on 8 x 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        """The loss of a batch."""
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), 1e-3)


def main(store: str = "runs", epochs: int = 3) -> None:
    """Fit, and say what has become of the start."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, y), batch_size=64, shuffle=True
    )
    watch = TrackerCallback(store=store, name="lightning")
    trainer = lightning.Trainer(max_epochs=epochs, callbacks=[watch], logger=False)
    trainer.fit(Digits(), loader)
    print(watch.summary())


if __name__ == "__main__":
    main()
