"""Initial configurations, marks by eye and count, streams by address."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from birthmark.errors import SpecError
from birthmark.marks import apply_mark, draw_mark
from birthmark.network import (
    draw_weights,
    find_bounds,
    forward_stack,
    stack_modules,
)
from birthmark.seeds import batch_order, buffered_order, stable_order, stream
from birthmark.spec import MarkSpec, RunSpec


def make_spec(**tables):
    return RunSpec(
        data={"name": "mnist"}, network={"widths": [64, 48]}, **tables
    ).with_settings({"run.replicas": 3, "run.dtype": "float64"})


def test_a_replica_starts_the_same_in_any_stack_and_dtype():
    spec = make_spec()
    stack = draw_weights(spec, 784, 10, replicas=range(3))
    alone = draw_weights(spec, 784, 10, replicas=[2])
    torch.testing.assert_close(alone["hidden1"].w[0], stack["hidden1"].w[2])
    single = draw_weights(
        spec.with_settings({"run.dtype": "float32"}), 784, 10, replicas=[2]
    )
    torch.testing.assert_close(single["hidden1"].w, alone["hidden1"].w.float())
    starts = [stack[name].w[r, 0, 0].item() for name in stack for r in range(3)]
    assert len(set(starts)) == 9


def test_the_streams_are_pinned_so_that_no_version_moves_them():
    draws = stream(7, 3, "initial", "hidden1.w").random(2)
    np.testing.assert_array_equal(draws, PINNED_DRAWS)
    assert batch_order(7, 3, 0, 6).tolist() == PINNED_ORDER


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5]) | st.floats(0, 1), max_size=40))
def test_equal_draws_keep_their_order(draws):
    expected = sorted(range(len(draws)), key=lambda number: draws[number])
    assert stable_order(np.array(draws)).tolist() == expected


PINNED_DRAWS = [0.2363422298552993, 0.10366728484980492]
PINNED_ORDER = [2, 1, 4, 5, 3, 0]


def test_every_example_is_visited_once_an_epoch_in_an_order_of_its_own():
    orders = [
        batch_order(0, replica, epoch, 50) for replica in (0, 1) for epoch in (0, 1)
    ]
    for order in orders:
        assert sorted(order.tolist()) == list(range(50))
    assert len({tuple(order) for order in orders}) == 4


def pass_through_buffer(coming, draws, size):
    """What leaves a buffer, by doing it: take one by lot, let the next one in."""
    coming, held, gone = list(coming), [], []
    for draw in draws:
        while coming and len(held) < size:
            held.append(coming.pop(0))
        place = int(draw * len(held))
        gone.append(held[place])
        if coming:
            held[place] = coming.pop(0)
        else:
            held[place] = held[-1]
            held.pop()
    return gone


@given(st.integers(1, 60), st.integers(1, 80), st.integers(0, 3), st.integers(0, 2))
def test_a_buffered_order_is_what_leaves_the_buffer(count, size, replica, epoch):
    draws = stream(7, replica, "buffer", f"epoch{epoch}").random(count)
    expected = pass_through_buffer(batch_order(7, replica, 0, count), draws, size)
    assert buffered_order(7, replica, epoch, count, size).tolist() == expected


def test_in_a_buffer_of_one_the_stream_stays_as_it_is():
    for epoch in range(3):
        found = buffered_order(7, 1, epoch, 90, 1)
        np.testing.assert_array_equal(found, batch_order(7, 1, 0, 90))


def test_waits_in_a_buffer_are_geometric():
    count, size = 60_000, 40
    place = np.argsort(batch_order(0, 0, 0, count))  # in the stream
    left = place[buffered_order(0, 0, 5, count, size)]
    inner = slice(2000, -2000)  # away from the filling and the emptying
    waits = (np.arange(count) - left)[inner] + size - 1
    assert waits.min() == 0
    share = np.bincount(waits, minlength=400)[:200] / waits.size
    law = (1 - 1 / size) ** np.arange(200) / size
    np.testing.assert_allclose(share, law, atol=5 * np.sqrt(law.max() / waits.size))
    assert waits.mean() == pytest.approx(size - 1, rel=0.02)


def test_waits_in_a_buffer_are_those_of_tensorflow():
    tensorflow = pytest.importorskip("tensorflow", reason="needs TensorFlow")
    count, size = 20_000, 40
    examples = tensorflow.data.Dataset.range(count).shuffle(size, seed=1)
    theirs = np.fromiter(examples.as_numpy_iterator(), dtype=int)
    place = np.argsort(batch_order(0, 0, 0, count))
    ours = place[buffered_order(0, 0, 1, count, size)]
    # waits of neighbours in the stream are not independent: every 200th
    waits = [(np.arange(count) - one)[400:-400:200] for one in (theirs, ours)]
    assert stats.ks_2samp(*waits).pvalue > 1e-3
    assert (theirs - np.arange(count)).max() == (ours - np.arange(count)).max()


def test_a_layer_of_its_own_rule_and_biases_as_asked():
    spec = make_spec(
        initialization={
            "bias": {"name": "constant", "value": 0.5},
            "layers": {"hidden2": {"name": "orthogonal", "bias": {"name": "zeros"}}},
        }
    )
    weights = draw_weights(spec, 784, 10, replicas=[0])
    assert (weights["hidden1"].b == 0.5).all()
    assert (weights["hidden2"].b == 0).all()
    w = weights["hidden2"].w[0]
    torch.testing.assert_close(w.T @ w, torch.eye(48, dtype=torch.float64))
    bounds = find_bounds(spec, 784, 10)
    assert bounds["hidden1"] == (pytest.approx(math.sqrt(6 / (784 + 64))), 0.5)
    assert bounds["hidden2"][1] == pytest.approx(64**-0.5)


def test_orthogonal_biases_are_refused():
    spec = make_spec(initialization={"bias": {"name": "orthogonal"}})
    with pytest.raises(SpecError, match="cannot be orthogonal"):
        draw_weights(spec, 784, 10, replicas=[0])


def test_a_marked_start_differs_from_its_twin_under_the_mark_alone():
    spec = make_spec(mark={"text": "a"})
    marked = draw_weights(spec, 784, 10, replicas=[0, 1])
    twin = draw_weights(spec.twin, 784, 10, replicas=[0, 1])
    mask = torch.from_numpy(draw_mark(spec.mark, 64, 48).mask_IO)
    assert (marked["hidden2"].w[:, mask] == 0).all()
    assert (twin["hidden2"].w[:, mask] != 0).all()
    torch.testing.assert_close(
        marked["hidden2"].w[:, ~mask], twin["hidden2"].w[:, ~mask]
    )
    torch.testing.assert_close(marked["hidden1"].w, twin["hidden1"].w)


def test_modes_zero_scale_and_shift():
    w = np.full((40, 40), 2.0)
    for mode, value, under in (
        ("zero", None, 0),
        ("scale", 3.0, 6),
        ("shift", -0.5, 1.5),
    ):
        mark = draw_mark(MarkSpec(text="x", mode=mode, value=value), 40, 40)
        marked = apply_mark(mark, w)
        assert set(np.unique(marked)) == {2.0, under}
        assert ((marked == under) == mark.mask_IO).all()


def test_the_letter_is_the_same_everywhere_and_reads_like_one():
    mask = draw_mark(MarkSpec(text="a"), 16, 16).mask_IO
    drawn = "\n".join("".join("#" if ink else "." for ink in row) for row in mask)
    assert drawn == LETTER_A


LETTER_A = """\
................
................
....######......
...########.....
.........###....
..........##....
.......#####....
....########....
...##.....##....
..##......##....
..##......##....
..###....###....
...#########....
....#####.##....
................
................"""


def test_larger_masks_cover_the_same_share():
    shares = [
        draw_mark(MarkSpec(text="a"), n, n).mask_IO.mean() for n in (64, 128, 512)
    ]
    assert max(shares) - min(shares) < 0.01


def test_an_image_is_ink_where_it_is_dark(tmp_path):
    picture = np.full((30, 60, 4), 255, dtype=np.uint8)
    picture[:, :30, :3] = 0  # black on the left half, opaque
    picture[:, 30:, 3] = 0  # transparent on the right
    Image.fromarray(picture).save(tmp_path / "half.png")
    mark = draw_mark(MarkSpec(image=str(tmp_path / "half.png")), 100, 100)
    columns = np.flatnonzero(mark.mask_IO.any(axis=0))
    assert (columns.min(), columns.max()) == (10, 49)


def test_marks_that_cannot_be_drawn_are_refused(tmp_path):
    with pytest.raises(SpecError, match="wider layer or a shorter text"):
        draw_mark(MarkSpec(text="a whole sentence"), 2, 2)
    (tmp_path / "not.png").write_text("no image")
    with pytest.raises(SpecError, match="is no image"):
        draw_mark(MarkSpec(image=str(tmp_path / "not.png")), 50, 50)


def test_an_image_that_changed_since_the_spec_was_made_is_refused(tmp_path):
    path = tmp_path / "mark.png"
    Image.new("L", (8, 8), 0).save(path)
    spec = MarkSpec(image=str(path))
    Image.new("L", (8, 9), 0).save(path)
    with pytest.raises(SpecError, match="not the file the spec was made with"):
        draw_mark(spec, 50, 50)


def test_forward_equals_torch_for_shared_and_own_inputs():
    spec = make_spec()
    weights = draw_weights(spec, 784, 10, replicas=range(3))
    x = torch.randn(3, 5, 784, dtype=torch.float64)
    outputs = forward_stack(weights, x.clone(), "tanh")
    shared = forward_stack(weights, x[0].clone(), "tanh")
    for r in range(3):
        for inputs, found in ((x[r], outputs[r]), (x[0], shared[r])):
            a = torch.tanh(inputs @ weights["hidden1"].w[r] + weights["hidden1"].b[r])
            a = torch.tanh(a @ weights["hidden2"].w[r] + weights["hidden2"].b[r])
            expected = a @ weights["output"].w[r] + weights["output"].b[r]
            torch.testing.assert_close(found, expected)


def test_modules_that_do_not_stack_are_refused():
    with pytest.raises(SpecError, match="same parameters"):
        stack_modules([torch.nn.Linear(2, 3), torch.nn.Linear(2, 4)])
    with pytest.raises(SpecError, match="BatchNorm1d has buffers"):
        stack_modules([torch.nn.BatchNorm1d(2)])
