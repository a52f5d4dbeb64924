"""A data set by name or spec: which examples, and how their pixels enter."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from birthmark.data.catalogue import find_entry
from birthmark.data.entries import Examples
from birthmark.data.lookup import obtain
from birthmark.errors import SpecError
from birthmark.shapes import Array, Dataset
from birthmark.spec import DataSpec


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of a data set before it is read."""

    name: str
    image_shape: tuple[int, ...]  # (height, width)
    num_classes: int  # of the subset that was asked for
    full_scale: int
    num_train: int  # at most: where classes are left out, some examples are too
    num_test: int
    num_channels: int = 1

    @property
    def num_inputs(self) -> int:
        """Numbers of one example, the fan-in of a first dense layer."""
        return self.num_channels * prod(self.image_shape)

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Channels, height and width of one example, as a convolution takes it."""
        return (self.num_channels, *self.image_shape)


def check_dataset(spec: DataSpec) -> None:
    """Refuse what the catalogue cannot give, before any work.

    Raises:
        SpecError: Unknown name, a fold of a set without folds, too many classes.
    """
    entry = find_entry(spec.name)
    if spec.fold > entry.num_folds:
        raise SpecError(
            f"data.fold: {spec.name} has no folds, got {spec.fold}: leave fold out"
            if entry.num_folds == 1
            else f"data.fold: {spec.name} has {entry.num_folds} folds, got {spec.fold}"
        )
    if spec.classes is not None and spec.classes > entry.num_classes:
        raise SpecError(
            f"data.classes: {spec.name} has {entry.num_classes} classes, "
            f"got {spec.classes}"
        )


def describe_dataset(spec: DataSpec | str) -> DatasetFacts:
    """Shape, classes and scale of a data set, without reading it.

    Raises:
        SpecError: As `check_dataset`.
    """
    spec = DataSpec(name=spec) if isinstance(spec, str) else spec
    check_dataset(spec)
    entry = find_entry(spec.name)
    num_classes = spec.classes or entry.num_classes
    num_train = entry.num_train
    if spec.examples_per_class is not None:
        num_train = min(num_train, num_classes * spec.examples_per_class)
    return DatasetFacts(
        name=entry.name,
        image_shape=entry.image_shape,
        num_classes=num_classes,
        full_scale=entry.full_scale,
        num_train=num_train,
        num_test=entry.num_test,
        num_channels=entry.num_channels,
    )


def load_dataset(spec: DataSpec | str, *, progress: bool = False) -> Dataset:
    """Read a data set, from the mirrors if it is not here; its arrays are read-only.

    A subset has the first `classes` classes and of each the first `examples_per_class`
    training examples (all of them where there are fewer), in the order of the files.
    The test set keeps all examples of these classes. `standardized` takes its mean and
    standard deviation over all pixels of the training set that is left.

    Args:
        spec: Which examples and which preprocessing; a name means the defaults.
        progress: Whether to draw a bar on standard error for each download.

    Raises:
        SpecError: As `check_dataset`.
        DataError: It is not to be had, or a file is damaged.
    """
    spec = DataSpec(name=spec) if isinstance(spec, str) else spec
    facts = describe_dataset(spec)
    entry = find_entry(spec.name)
    paths = obtain(entry, progress=progress)
    examples = _take_subset(entry.read(entry, paths, spec.fold), spec)
    mean, std = 0.0, 1.0
    if spec.preprocessing == "inverted":
        examples = _invert(examples, facts.full_scale)
    elif spec.preprocessing == "standardized":
        mean, std = _moments(examples.x_train, facts.full_scale)
    arrays = (examples.x_train, examples.y_train, examples.x_test, examples.y_test)
    for array in arrays:
        array.flags.writeable = False
    return Dataset(
        facts.name,
        *arrays,
        num_classes=facts.num_classes,
        image_shape=facts.image_shape,
        full_scale=facts.full_scale,
        mean=mean,
        std=std,
        checksum=examples.checksum,
    )


def _take_subset(examples: Examples, spec: DataSpec) -> Examples:
    x_train, y_train = examples.x_train, examples.y_train
    x_test, y_test = examples.x_test, examples.y_test
    if spec.classes is not None:
        train_N, test_N = y_train < spec.classes, y_test < spec.classes
        x_train, y_train = x_train[train_N], y_train[train_N]
        x_test, y_test = x_test[test_N], y_test[test_N]
    if spec.examples_per_class is not None:
        first = _first_of_each(y_train, spec.examples_per_class)
        x_train, y_train = x_train[first], y_train[first]
    return Examples(x_train, y_train, x_test, y_test)


def _first_of_each(y_N: Array, count: int) -> Array:
    classes = np.unique(y_N)
    return np.sort(np.concatenate([np.flatnonzero(y_N == k)[:count] for k in classes]))


def _invert(examples: Examples, full_scale: int) -> Examples:
    scale = np.uint8(full_scale)
    return Examples(
        scale - examples.x_train,
        examples.y_train,
        scale - examples.x_test,
        examples.y_test,
    )


def _moments(x_NI: Array, full_scale: int) -> tuple[float, float]:
    """Mean and standard deviation of x / full_scale over all pixels.

    From the counts of the values, which are exact; in blocks, since counting widens
    each pixel to eight bytes.
    """
    pixels = x_NI.reshape(-1)
    counts = np.zeros(256, dtype=np.int64)
    for start in range(0, len(pixels), 1 << 24):
        counts += np.bincount(pixels[start : start + (1 << 24)], minlength=256)
    values = np.arange(256) / full_scale
    mean = float(counts @ values / counts.sum())
    variance = float(counts @ (values - mean) ** 2 / counts.sum())
    return mean, variance**0.5
