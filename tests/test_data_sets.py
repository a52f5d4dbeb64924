"""What the data sets are, against independent readers and published numbers."""

import gzip
import hashlib
import struct

import numpy as np
import pytest
from sklearn.datasets import load_digits

from birthmark.data import check_dataset, describe_dataset, load_dataset
from birthmark.errors import SpecError
from birthmark.spec import DataSpec


def test_digits_are_those_of_scikit_learn_each_once() -> None:
    dataset = load_dataset("digits")
    pixels, labels = load_digits(return_X_y=True)
    x = np.concatenate([dataset.x_train, dataset.x_test])
    y = np.concatenate([dataset.y_train, dataset.y_test])
    ours = sorted(zip(x.tolist(), y.tolist(), strict=True))
    theirs = sorted(zip(pixels.astype(int).tolist(), labels.tolist(), strict=True))
    assert ours == theirs
    assert (dataset.full_scale, x.max(), dataset.image_shape) == (16, 16, (8, 8))


def test_split_of_digits_has_every_class_in_its_share() -> None:
    dataset = load_dataset("digits")
    assert (len(dataset.y_train), len(dataset.y_test)) == (1437, 360)
    in_all = np.bincount(load_digits().target)
    assert np.abs(np.bincount(dataset.y_test) - in_all / 5).max() < 1


def test_split_of_digits_never_changes() -> None:
    dataset = load_dataset("digits")
    digest = hashlib.sha256(dataset.x_test.tobytes() + dataset.y_test.tobytes())
    assert digest.hexdigest()[:16] == "06cb714fc3ee8ac1"


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_sets_are_what_a_reader_by_hand_finds(real_data, name) -> None:
    dataset = load_dataset(name)
    folder = real_data / name.replace("_", "-")
    for part, x, y, count in (
        ("train", dataset.x_train, dataset.y_train, 60_000),
        ("t10k", dataset.x_test, dataset.y_test, 10_000),
    ):
        with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
            assert struct.unpack(">4i", file.read(16)) == (2051, count, 28, 28)
            assert file.read() == x.tobytes()
        with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
            assert struct.unpack(">2i", file.read(8)) == (2049, count)
            assert list(file.read()) == y.tolist()
        assert x.shape == (count, 784)


def test_known_counts_of_classes(real_data) -> None:
    # LeCun's page; Fashion-MNIST is balanced
    mnist, fashion = load_dataset("mnist"), load_dataset("fashion_mnist")
    assert np.bincount(mnist.y_train)[:3].tolist() == [5923, 6742, 5958]
    assert np.bincount(mnist.y_test)[:3].tolist() == [980, 1135, 1032]
    assert np.bincount(fashion.y_train).tolist() == [6000] * 10
    assert np.bincount(fashion.y_test).tolist() == [1000] * 10


def test_moments_of_mnist_are_the_well_known_ones(real_data) -> None:
    dataset = load_dataset(DataSpec(name="mnist", preprocessing="standardized"))
    assert round(dataset.mean, 4) == 0.1307
    assert round(dataset.std, 4) == 0.3081


def test_hasyv2_pixels_and_labels_are_those_of_the_packed_file(real_data) -> None:
    dataset = load_dataset("hasyv2")
    packed = np.load(real_data / "hasyv2_packed.npz")
    test = packed["fold"] == 1
    x, y = np.empty((168_233, 1024), np.uint8), np.empty(168_233, int)
    x[test], x[~test] = dataset.x_test, dataset.x_train
    y[test], y[~test] = dataset.y_test, dataset.y_train
    expected = "b2a875a2528a92ced226b3691fd32f61909aae636b62e2ad35ac86d95fc614a5"
    assert hashlib.sha256(x).hexdigest() == expected
    np.testing.assert_array_equal(y, packed["y"])


def test_hasyv2_has_the_published_counts_and_a_white_background(real_data) -> None:
    dataset = load_dataset("hasyv2")
    assert (len(dataset.y_train), len(dataset.y_test)) == (151_241, 16_992)
    counts = np.bincount(np.concatenate([dataset.y_train, dataset.y_test]))
    assert (len(counts), counts.min(), counts.max()) == (369, 51, 3514)
    share = np.bincount(dataset.y_test).max() / len(dataset.y_test)
    assert round(share, 4) == 0.0207
    assert set(np.unique(dataset.x_test)) == {0, 255}
    assert round(float((dataset.x_train == 255).mean()), 3) == 0.833


def test_folds_of_hasyv2_partition_its_images(real_data) -> None:
    packed = np.load(real_data / "hasyv2_packed.npz")
    tenth = load_dataset(DataSpec(name="hasyv2", fold=10))
    assert (len(tenth.y_train), len(tenth.y_test)) == (151_572, 16_661)
    np.testing.assert_array_equal(tenth.y_test, packed["y"][packed["fold"] == 10])


def test_mnist_has_bright_ink_and_inverted_has_dark(real_data) -> None:
    unit = load_dataset("mnist")
    inverted = load_dataset(DataSpec(name="mnist", preprocessing="inverted"))
    assert unit.x_train.mean() < 255 / 2 < inverted.x_train.mean()
    np.testing.assert_array_equal(inverted.x_test, 255 - unit.x_test.astype(int))


def test_inverted_digits_use_their_own_full_scale() -> None:
    unit = load_dataset("digits")
    inverted = load_dataset(DataSpec(name="digits", preprocessing="inverted"))
    np.testing.assert_array_equal(inverted.x_train, 16 - unit.x_train.astype(int))
    assert inverted.x_train.dtype == np.uint8


def test_standardized_training_pixels_have_mean_0_and_std_1() -> None:
    spec = DataSpec(
        name="digits", preprocessing="standardized", classes=4, examples_per_class=50
    )
    dataset = load_dataset(spec)
    seen = (dataset.x_train / dataset.full_scale - dataset.mean) / dataset.std
    np.testing.assert_allclose([seen.mean(), seen.std()], [0, 1], atol=1e-12)


def test_subset_has_the_first_examples_of_the_first_classes() -> None:
    whole = load_dataset("digits")
    part = load_dataset(DataSpec(name="digits", classes=3, examples_per_class=7))
    taken, seen = [], dict.fromkeys(range(3), 0)
    for i, label in enumerate(whole.y_train.tolist()):
        if label in seen and seen[label] < 7:
            seen[label] += 1
            taken.append(i)
    np.testing.assert_array_equal(part.x_train, whole.x_train[taken])
    np.testing.assert_array_equal(part.y_train, whole.y_train[taken])
    np.testing.assert_array_equal(part.x_test, whole.x_test[whole.y_test < 3])
    assert part.num_classes == 3


def test_a_class_with_fewer_examples_than_asked_keeps_them_all() -> None:
    whole = load_dataset("digits")
    part = load_dataset(DataSpec(name="digits", examples_per_class=1000))
    assert part.checksum == whole.checksum


@pytest.mark.parametrize("preprocessing", ["unit", "inverted", "standardized"])
def test_arrays_are_read_only_flat_and_of_the_promised_types(preprocessing) -> None:
    spec = DataSpec(name="digits", preprocessing=preprocessing, classes=5)
    dataset = load_dataset(spec)
    for x in (dataset.x_train, dataset.x_test):
        assert x.dtype == np.uint8
        assert x.shape[1:] == (64,)
        assert x.flags.c_contiguous
        assert not x.flags.writeable
    for y in (dataset.y_train, dataset.y_test):
        assert y.dtype == np.int64
        assert not y.flags.writeable


def test_checksum_is_the_sha256_of_pixels_and_labels_as_given() -> None:
    checksums = set()
    for spec in (
        DataSpec(name="digits"),
        DataSpec(name="digits", preprocessing="inverted"),
        DataSpec(name="digits", classes=9),
    ):
        d = load_dataset(spec)
        content = b"".join(
            a.tobytes() for a in (d.x_train, d.y_train, d.x_test, d.y_test)
        )
        assert d.checksum == hashlib.sha256(content).hexdigest()
        checksums.add(d.checksum)
    assert len(checksums) == 3


@pytest.mark.parametrize(
    ("name", "inputs", "classes", "scale"),
    [
        ("digits", 64, 10, 16),
        ("mnist", 784, 10, 255),
        ("fashion_mnist", 784, 10, 255),
        ("hasyv2", 1024, 369, 255),
    ],
)
def test_facts_are_known_without_files(monkeypatch, name, inputs, classes, scale):
    monkeypatch.delenv("BIRTHMARK_DATA", raising=False)
    facts = describe_dataset(name)
    assert (facts.num_inputs, facts.num_classes, facts.full_scale) == (
        inputs,
        classes,
        scale,
    )
    assert describe_dataset(DataSpec(name=name, classes=7)).num_classes == 7


@pytest.mark.parametrize("name", ["digits", "mnist", "fashion_mnist", "hasyv2"])
def test_facts_agree_with_what_is_loaded(real_data, name) -> None:
    facts, dataset = describe_dataset(name), load_dataset(name)
    assert facts.num_inputs == dataset.num_inputs
    assert facts.image_shape == dataset.image_shape
    assert facts.num_classes == dataset.num_classes == dataset.y_train.max() + 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DataSpec(name="minst"), "unknown data set 'minst': did you mean 'mnist'?"),
        (DataSpec(name="mnist", fold=2), "data.fold: mnist has no folds, got 2"),
        (DataSpec(name="mnist", classes=11), "data.classes: mnist has 10 classes"),
        (DataSpec(name="hasyv2", classes=370), "data.classes: hasyv2 has 369"),
    ],
)
@pytest.mark.parametrize("ask", [check_dataset, describe_dataset, load_dataset])
def test_what_the_catalogue_cannot_give_is_refused(ask, spec, message) -> None:
    with pytest.raises(SpecError, match="^" + message.replace("?", r"\?")) as caught:
        ask(spec)
    assert "\n" not in str(caught.value)


def test_every_fold_and_the_largest_subset_are_accepted() -> None:
    for fold in range(1, 11):
        check_dataset(DataSpec(name="hasyv2", fold=fold, classes=369))
