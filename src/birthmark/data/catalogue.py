"""The data sets by name: one entry each."""

from typing import Any

from birthmark.data.cifar import (
    ARCHIVE,
    PART,
    keep_cifar10,
    keep_cifar10_part,
    read_cifar10,
    read_cifar10_part,
)
from birthmark.data.digits import read_digits
from birthmark.data.entries import Entry, Published
from birthmark.data.hasyv2 import PACKED, keep_hasyv2, read_hasyv2
from birthmark.data.idx import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    keep_idx_files,
    read_idx_files,
)
from birthmark.errors import unknown_name

_CIFAR10_URLS = (
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
)
_CIFAR10: dict[str, Any] = {
    "licence": "none stated; cite Krizhevsky 2009",
    "image_shape": (32, 32),
    "num_channels": 3,
    "num_classes": 10,
}


def _idx(
    name: str, title: str, licence: str, mirrors: tuple[str, ...], md5: tuple[str, ...]
) -> Entry:
    """Ten classes in the four files of MNIST."""
    names = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
    return Entry(
        name=name,
        title=title,
        licence=licence,
        image_shape=(28, 28),
        num_classes=10,
        num_train=60_000,
        num_test=10_000,
        read=read_idx_files,
        keep=keep_idx_files,
        files=tuple(
            Published(file, file, tuple(mirror + file for mirror in mirrors), checksum)
            for file, checksum in zip(names, md5, strict=True)
        ),
    )


_ENTRIES = (
    Entry(
        name="digits",
        title="handwritten digits, 8x8, inside scikit-learn",
        licence="CC BY 4.0",
        image_shape=(8, 8),
        num_classes=10,
        num_train=1437,
        num_test=360,
        full_scale=16,
        read=read_digits,
    ),
    _idx(
        "mnist",
        "MNIST: handwritten digits, 28x28",
        "CC BY-SA 3.0",
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        (
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
    ),
    _idx(
        "fashion_mnist",
        "Fashion-MNIST: articles of clothing, 28x28",
        "MIT",
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/"
            "master/data/fashion/",
        ),
        (
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "9018921c3c673c538a1fc5bad174d6f9",
            "8181f5470baa50b63fa0f6fddb340f0a",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
    ),
    Entry(
        name="hasyv2",
        title="HASYv2: handwritten symbols, 32x32, ten folds",
        licence="ODbL 1.0",
        image_shape=(32, 32),
        num_classes=369,
        num_train=151_241,
        num_test=16_992,
        read=read_hasyv2,
        keep=keep_hasyv2,
        files=(
            Published(
                "HASYv2.tar.bz2",
                PACKED,
                (
                    "https://zenodo.org/records/259444/files/HASYv2.tar.bz2?download=1",
                    "https://zenodo.org/api/records/259444/files/HASYv2.tar.bz2/content",
                ),
            ),
        ),
        num_folds=10,
    ),
    Entry(
        name="cifar10",
        title="CIFAR-10: colour photographs, 32x32",
        num_train=50_000,
        num_test=10_000,
        read=read_cifar10,
        keep=keep_cifar10,
        files=(Published(ARCHIVE, ARCHIVE, _CIFAR10_URLS),),
        **_CIFAR10,
    ),
    Entry(
        name="cifar10_12k",
        title="CIFAR-10: the first batch and 2,000 test images",
        num_train=10_000,
        num_test=2_000,
        read=read_cifar10_part,
        keep=keep_cifar10_part,
        files=(Published(ARCHIVE, PART, _CIFAR10_URLS),),
        **_CIFAR10,
    ),
)

CATALOGUE = {entry.name: entry for entry in _ENTRIES}


def find_entry(name: str) -> Entry:
    """The entry of a data set.

    Raises:
        SpecError: There is none of that name; the message has the nearest.
    """
    if name not in CATALOGUE:
        raise unknown_name("data set", name, CATALOGUE)
    return CATALOGUE[name]
