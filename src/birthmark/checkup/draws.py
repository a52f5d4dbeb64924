"""Tensors that share one draw: the same numbers, up to their scale."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

LENGTH = 32  # numbers compared: independent draws reach a cosine of 0.999 never (1e-40)
_SAME = 0.999


def find_shared_draws(tensors: Mapping[str, Tensor]) -> dict[str, tuple[str, ...]]:
    """For each tensor the others that begin with the same numbers, up to a factor.

    A random stream that starts anew, or a layer that was copied, gives this.
    Constant tensors have no draw to share.
    """
    names, heads = [], []
    for name, tensor in tensors.items():
        flat = tensor.detach().flatten()
        if flat.numel() < LENGTH or not flat.is_floating_point():
            continue
        head = flat[:LENGTH].double().cpu()
        # constants, and rows of an identity, are no draws
        is_drawn = len(set(head.tolist())) > LENGTH // 2 and not _is_smooth(head)
        if torch.isfinite(head).all() and is_drawn:
            names.append(name)
            heads.append(head / head.norm())
    if len(names) < 2:
        return {}
    matrix = torch.stack(heads)
    alike = (matrix @ matrix.T).abs() > _SAME
    _, labels = connected_components(alike.numpy(), directed=False)
    return {
        name: tuple(
            other
            for other, their in zip(names, labels, strict=True)
            if their == label and other != name
        )
        for name, label in zip(names, labels, strict=True)
        if (labels == label).sum() > 1
    }


def _is_smooth(head: Tensor) -> bool:
    """A ramp or a wave is a formula: independent neighbours correlate by 0.18."""
    centred = head - head.mean()
    size = float(centred.square().sum())
    return size > 0 and float((centred[1:] * centred[:-1]).sum()) > 0.75 * size
