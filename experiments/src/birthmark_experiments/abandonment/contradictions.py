"""What other images say of an example: equal ones, and the nearest."""

from dataclasses import dataclass

import numpy as np

from birthmark.shapes import Array, Dataset

COMPONENTS = 64  # principal components of the pixels in which distances are taken
_BLOCK = 512  # examples whose distances to all others are in memory at a time


@dataclass(frozen=True)
class Labels:
    """How often the images equal to an example carry which label, [N] each."""

    own: Array  # its own label
    most: Array  # the label that the most of them carry
    num_most: Array  # labels that so many of them carry: 2 or more is a tie
    all: Array  # any: how many images are equal to it, itself counted

    @property
    def contradicts(self) -> Array:
        """Whether an equal image carries another label."""
        return np.asarray(self.own < self.all)

    @property
    def is_tied(self) -> Array:
        """Whether its label is one of several that are the most frequent."""
        return np.asarray((self.own == self.most) & (self.num_most > 1))


def count_labels(dataset: Dataset) -> Labels:
    """The labels of equal training images."""
    _, group_N = np.unique(dataset.x_train, axis=0, return_inverse=True)
    group_N = group_N.ravel()
    pairs, pair_N, own = np.unique(
        np.stack([group_N, dataset.y_train]),
        axis=1,
        return_inverse=True,
        return_counts=True,
    )
    most = np.zeros(group_N.max() + 1, dtype=own.dtype)
    np.maximum.at(most, pairs[0], own)
    num_most = np.bincount(pairs[0], weights=own == most[pairs[0]]).astype(int)
    return Labels(
        own[pair_N.ravel()],
        most[group_N],
        num_most[group_N],
        np.bincount(group_N)[group_N],
    )


def find_neighbours(dataset: Dataset, count: int) -> Array:
    """The nearest other training images, the nearest first, [N, count].

    By Euclid's distance in the first principal components of the pixels.
    """
    import torch  # facts about labels alone do without it

    x_NI = dataset.x_train.astype(np.float32) / dataset.full_scale
    x_NI -= x_NI.mean(axis=0)
    _, directions_II = np.linalg.eigh(x_NI.T @ x_NI)
    points = torch.from_numpy(x_NI @ directions_II[:, -COMPONENTS:])
    halves = points.square().sum(dim=1) / 2
    nearest = []
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        closeness = torch.addmm(-halves[None], block, points.T)
        rows = torch.arange(len(block))
        closeness[rows, start + rows] = -torch.inf
        nearest.append(closeness.topk(count, dim=1).indices)
    found: Array = torch.cat(nearest).numpy()
    return found
