"""Do queries still look at more than one key? The concentration of a softmax."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from birthmark.checkup.readings import Attention
from birthmark.checkup.second_moments import as_float

FEWEST_KEYS = 8  # a query with fewer keys is left out: it is one-hot by chance
_MOST_ROWS = 4096


@torch.no_grad()
def read_concentration(
    logits: Tensor, probabilities: Tensor, names: tuple[str, ...]
) -> Attention | None:
    """Read a softmax over its last axis; None when no query has eight keys.

    It is averaged over the queries that have; `names` are the matrices before it.
    """
    if probabilities.ndim < 2 or probabilities.shape[-1] < FEWEST_KEYS:
        return None
    p = probabilities.detach().flatten(0, -2)
    z = logits.detach().expand_as(probabilities).flatten(0, -2)
    stride = max(1, len(p) // _MOST_ROWS)
    p, z = as_float(p[::stride]), as_float(z[::stride])
    floor = torch.finfo(logits.dtype).min / 4  # masks are -inf or the lowest number
    open_ = torch.isfinite(z) & (z > floor)
    count = open_.sum(dim=-1)
    rows = count >= FEWEST_KEYS
    if not rows.any() or not torch.isfinite(p[rows]).all():
        return None
    p, z, open_, count = p[rows], z[rows], open_[rows], count[rows].to(p)
    entropy = -(p * p.clamp_min(1e-30).log()).sum(dim=-1) / count.log()
    zero = torch.zeros_like(z)
    mean = torch.where(open_, z, zero).sum(dim=-1) / count
    square = torch.where(open_, (z - mean[:, None]).square(), zero).sum(dim=-1) / count
    return Attention(
        tensors=names,
        largest=float(p.amax(dim=-1).mean()),
        entropy=float(entropy.mean()),
        spread=math.sqrt(float(square.mean())),
        keys=float(count.mean()),
    )
