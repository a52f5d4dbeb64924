"""Check a transformer before its first step
=========================================

A training that fails often fails in its first second. The check-up reads a model and
one batch, changes nothing, and says in words what is wrong, why it matters and what to
do.
"""

import torch
from torch import nn

import birthmark as bm


class ViT(nn.Module):
    """A small vision transformer: patches, positions, blocks, a head."""

    def __init__(self, side: int = 4, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, side, stride=side)
        self.positions = nn.Parameter(torch.randn(1, (32 // side) ** 2, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images [B, 3, 32, 32]."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(tokens)).mean(1))


# %%
# A batch of yours is best; here are random images.

torch.manual_seed(0)
batch = torch.randn(64, 3, 32, 32), torch.randint(10, (64,))
checkup = bm.check(ViT(), batch)
print(checkup.summary())

# %%
# ``nn.TransformerEncoder`` copies one layer, so all blocks start with the same
# numbers. That is what the warning says. Drawing each tensor anew mends it; the rule
# is that of BERT and ViT, a normal law cut at two standard deviations.

model = ViT()
bm.initialize_(model, "bert_default", seed=0, bias="zeros")
print(bm.check(model, batch).summary())

# %%
# A mistake planted on purpose: one projection forty times too large. Attention then
# looks at one token only.

with torch.no_grad():
    model.blocks.layers[1].self_attn.in_proj_weight.mul_(40)
for finding in bm.check(model, batch).findings:
    print(f"{finding.level}: {finding.what}\n    {finding.advice}")

# %%
# In a test one line is enough: ``bm.assert_healthy(model, batch)``. On the command
# line: ``birthmark check mymodule:ViT --data cifar10``.
