"""Are distinct inputs kept apart? Distances between examples, layer by layer.

Correlation: Poole et al. 1606.05340, eq. 5. Distortion: Giryes et al. 1504.08291.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from birthmark.checkup.second_moments import in_range

MOST_EXAMPLES = 64  # 2016 pairs: the mean over pairs is known to a percent
NEIGHBOURS = 5
_MOST_NUMBERS = 1 << 22  # examples times features looked at


@dataclass(frozen=True)
class Geometry:
    """Scalar products of examples, each an array over pairs or over examples."""

    cosine: float  # mean over pairs of examples
    gap: float  # 1 - cosine, computed from distances: exact where it is tiny
    distance_NN: Tensor  # float64, root mean square over features, in any unit


def read_geometry(values: Tensor) -> Geometry | None:
    """Cosines and distances between the examples of a batch, [B, ...].

    None when the numbers are not finite or fewer than two examples are not zero: of a
    zero there is no cosine, and its pairs are left out of that mean.
    """
    x = values[:MOST_EXAMPLES].detach().flatten(1)
    stride = max(1, x.numel() // _MOST_NUMBERS)
    x = x[:, ::stride].double()
    if not torch.isfinite(x).all():
        return None
    x, _ = in_range(x)  # cosines and ratios of distances know of no unit
    norm_N = x.norm(dim=1)
    if (norm_N > 0).sum() < 2:
        return None
    # the common part carries no information on distances, and costs digits
    centred = x - x.mean(dim=0)
    gram = centred @ centred.T
    square_N = gram.diagonal()
    square_NN = (square_N[:, None] + square_N[None, :] - 2 * gram).clamp_min(0)
    i, j = torch.triu_indices(len(x), len(x), offset=1)
    both = (norm_N[i] * norm_N[j]).clamp_min(torch.finfo(torch.float64).tiny)
    # 1 - cos = (|u - v|^2 - (|u| - |v|)^2) / (2 |u| |v|)
    gaps = (square_NN[i, j] - (norm_N[i] - norm_N[j]).square()).clamp_min(0) / both / 2
    gap = float(gaps[(norm_N[i] > 0) & (norm_N[j] > 0)].mean())
    return Geometry(1 - gap, gap, (square_NN / x.shape[1]).sqrt())


def distortion(before: Geometry, after: Geometry) -> float | None:
    """Std over mean of the ratio of distances after and before, over distinct pairs."""
    d, e = before.distance_NN, after.distance_NN
    if d.shape != e.shape:
        return None
    i, j = torch.triu_indices(len(d), len(d), offset=1)
    distinct = d[i, j] > 0
    ratio = e[i, j][distinct] / d[i, j][distinct]
    if ratio.numel() < 2 or not ratio.mean() > 0:
        return None
    return float(ratio.std() / ratio.mean())


def neighbour_overlap(before: Geometry, after: Geometry) -> float | None:
    """Share of each example's five nearest neighbours that are still among them."""
    d, e = before.distance_NN, after.distance_NN
    k = min(NEIGHBOURS, len(d) - 2)
    if d.shape != e.shape or k < 1:
        return None
    near = [
        m.clone().fill_diagonal_(torch.inf).topk(k, largest=False).indices
        for m in (d, e)
    ]
    kept = (near[0][:, :, None] == near[1][:, None, :]).any(dim=2)
    return float(kept.double().mean())
