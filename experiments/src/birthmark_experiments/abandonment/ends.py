"""When a network has collapsed, died, or begun to abandon its examples."""

import numpy as np
from scipy.ndimage import median_filter

from birthmark.shapes import Array

WINDOW = 21  # epochs of the running median of the accuracy
FALLEN = 0.8  # of its highest: what a collapsed network is below
ONSET = 0.05  # share of abandoned examples
LEVELS = (0.01, 0.02, 0.03, ONSET)  # shares, to see what depends on the choice


def find_collapse(accuracy_TR: Array) -> Array:
    """The epoch at which a network has lost what it had learned, NaN if none, [R].

    The first after the highest point of the running median of the train accuracy at
    which that median is below 0.8 of it. The accuracy means the same under any clip;
    levels of the loss do not. Curves begin at epoch 1, here and below.
    """
    smooth_TR = median_filter(accuracy_TR, size=(WINDOW, 1), mode="nearest")
    epochs = np.arange(1, len(smooth_TR) + 1)[:, None]
    after_TR = epochs > smooth_TR.argmax(axis=0) + 1
    return _first((smooth_TR < FALLEN * smooth_TR.max(axis=0)) & after_TR)


def find_death(loss_TR: Array, accuracy_TR: Array, num_classes: int) -> Array:
    """The epoch at which a network that had learned only guesses, NaN if none, [R].

    Its loss is within 2 % of ln K and its accuracy at most 2 / K, as running medians
    over 5 epochs, after an epoch with half of the examples right. (A network that has
    abandoned its examples has a loss far above ln K.)
    """
    loss_TR = median_filter(loss_TR, size=(5, 1), mode="nearest")
    accuracy_TR = median_filter(accuracy_TR, size=(5, 1), mode="nearest")
    learned_TR = np.maximum.accumulate(accuracy_TR, axis=0) >= 0.5
    guesses_TR = np.abs(loss_TR / np.log(num_classes) - 1) <= 0.02
    return _first(learned_TR & guesses_TR & (accuracy_TR <= 2 / num_classes))


def find_onset(share_TR: Array, level: float = ONSET) -> Array:
    """The first epoch with so large a share of abandoned examples, NaN if none, [R].

    As a running median over 5 epochs.
    """
    return _first(median_filter(share_TR, size=(5, 1), mode="nearest") >= level)


def _first(seen_TR: Array) -> Array:
    epoch = seen_TR.argmax(axis=0) + 1.0
    return np.where(seen_TR.any(axis=0), epoch, np.nan)
