"""A shipped copy says what its run says, in a small part of the bytes."""

import pytest
import xarray as xr

from birthmark.errors import StoreError
from birthmark.store import open_shipped, open_store, ship_run
from store_writer import EPOCHS, MANIFEST, make_spec, write_run

MARKED = {"mark": {"text": "a"}}


@pytest.fixture
def original(tmp_path):
    write_run(tmp_path / "runs", make_spec(**MARKED))
    return open_store(tmp_path / "runs")


@pytest.fixture
def target(tmp_path):
    return open_store(tmp_path / "shipped", create=True)


def test_a_copy_has_the_losses_as_they_are_and_the_rest_to_float32(original, target):
    key = make_spec(**MARKED).run_key
    ship_run(original, key, target)
    before, after = original.records(key), target.records(key)
    assert after.attrs == before.attrs
    assert after.attrs["state"] == "done"
    exact = [name for name in before if before[name].dims == ("step", "replica")]
    assert len(exact) == 9
    for name in exact:
        xr.testing.assert_identical(after[name], before[name])
    counts = ["joint_count", "nonfinite_step", "bound"]
    for name in counts:
        xr.testing.assert_equal(after[name], before[name])
    xr.testing.assert_allclose(after, before, rtol=1e-7)
    assert list(after) == list(before)
    assert target.spec(key) == original.spec(key)
    assert target.manifest(key) == MANIFEST


def test_a_copy_is_small_and_keeps_no_weights_unless_asked(original, target):
    key = make_spec(**MARKED).run_key
    size = ship_run(original, key, target)
    files = list((target.path / key).iterdir())
    assert size == sum(path.stat().st_size for path in files)
    assert size < sum(p.stat().st_size for p in (original.path / key).iterdir())
    assert target.weights_epochs(key) == []


def test_pictures_are_the_marked_layer_in_float16(original, target):
    key = make_spec(**MARKED).run_key
    ship_run(original, key, target, pictures=[0, 5])
    assert target.weights_epochs(key) == [0, 5]
    copy = target.weights(key, 5)
    assert list(copy) == ["hidden2"]
    whole = original.weights(key, 5)["hidden2"].w
    assert copy["hidden2"].w.dtype == "float16"
    assert abs(copy["hidden2"].w - whole).max() < 2e-3  # of values up to 3


def test_shipping_again_replaces_the_copy(original, target):
    key = make_spec(**MARKED).run_key
    ship_run(original, key, target, pictures=[0, 5])
    ship_run(original, key, target, pictures=[EPOCHS])
    assert target.weights_epochs(key) == [EPOCHS]
    assert target.records(key).sizes["step"] == EPOCHS + 1


def test_what_cannot_be_shipped_is_refused_and_leaves_nothing(original, target):
    key = make_spec(**MARKED).run_key
    with pytest.raises(StoreError, match="no weights of epoch 3"):
        ship_run(original, key, target, pictures=[3])
    assert not list(target.path.glob(f"{key}/*"))
    (original.path / key / "done").unlink()
    with pytest.raises(StoreError, match="is not done"):
        ship_run(original, key, target)
    unmarked = make_spec()
    write_run(original.path, unmarked)
    with pytest.raises(StoreError, match="no mark"):
        ship_run(original, unmarked.run_key, target, pictures=[0])


def test_a_name_that_ships_nothing_is_an_error_of_one_line():
    with pytest.raises(StoreError, match="does not exist"):
        open_shipped("nothing")
