"""More than two checkpoints, and two trainings side by side."""

import json

import pytest
import torch
from safetensors.torch import save_file

import birthmark as bm
from birthmark.errors import StoreError, WeightsError
from birthmark.weight_files import open_weights

STEPS = (0, 5, 10, 40)


def trained(folder, seed=0, order=0, fork=None):
    """Checkpoints of a small training; `order` tells batches apart from step `fork`."""
    folder.mkdir()
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(20, 30), torch.nn.Tanh(), torch.nn.Linear(30, 20)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            save_file(model.state_dict(), folder / f"step_{step}.safetensors")
        other = order if fork is None or step >= fork else 0
        generator = torch.Generator().manual_seed(1000 * other + step)
        x = torch.randn(16, 20, generator=generator)
        optimizer.zero_grad()
        (model(x) - x.roll(1, 1)).square().mean().backward()
        optimizer.step()
    return [folder / f"step_{step}.safetensors" for step in STEPS]


def loaded(path):
    return {n: t.load().double() for n, t in open_weights(path).tensors.items()}


def test_a_trajectory_is_stored_as_a_tracker_would(tmp_path):
    files = trained(tmp_path / "a")
    found = bm.follow(files, store=tmp_path / "runs", name="mine", fields={"lr": 0.1})
    assert found.steps == STEPS
    store = bm.open_store(tmp_path / "runs")
    row = store.runs().iloc[0]
    assert (row["kind"], row["name"], row["lr"], row["state"]) == (
        ("checkpoints", "mine", 0.1, "done")
    )
    records = store.records(row["run_key"], by="parameter")
    assert tuple(records["step"].values) == STEPS
    models = [loaded(file) for file in files]
    path = 0.0
    for before, now, step in zip(models, models[1:], STEPS[1:], strict=False):
        at = records.sel(step=step, parameter="0.weight").squeeze()
        expected = bm.measure(models[0], now, kind="scalars")
        expected = expected.sel(parameter="0.weight").squeeze()
        for name in ("distance", "correlation", "deviation_kurtosis", "sign_flips"):
            assert float(at[name]) == pytest.approx(float(expected[name])), name
        path += float((now["0.weight"] - before["0.weight"]).norm())
        assert float(at["path_length"]) == pytest.approx(path)
    bm.follow(files, store=tmp_path / "runs", name="mine", fields={"lr": 0.1})
    assert len(store.runs()) == 1
    with pytest.raises(StoreError, match="of other checkpoints"):
        bm.follow(files[:2], store=tmp_path / "runs", name="mine", fields={"lr": 0.1})


def test_a_trajectory_goes_on_under_other_names_and_axes(tmp_path):
    files = trained(tmp_path / "a")
    last = {
        f"module.{n}": t.T.contiguous() if t.ndim > 1 else t
        for n, t in loaded(files[-1]).items()
    }
    plain = bm.follow([loaded(f) for f in files], store=tmp_path / "x", name="x")
    dressed = bm.follow(
        [*(loaded(f) for f in files[:-1]), last], store=tmp_path / "y", name="x"
    )
    assert plain.steps == dressed.steps == (0, 1, 2, 3)
    one, other = (
        bm.open_store(tmp_path / s).records(
            bm.open_store(tmp_path / s).runs()["run_key"][0], by="parameter"
        )
        for s in "xy"
    )
    assert list(one["parameter"].values) == list(other["parameter"].values)
    assert one["distance"].equals(other["distance"])


@pytest.mark.parametrize(
    ("labels", "steps"),
    [
        (("step0.pt", "step1000.pt", "final.pt"), (0, 1000, 1001)),
        (("epoch=1-step=20.ckpt", "epoch=2-step=40.ckpt"), (20, 40)),
        (("checkpoint-500", "checkpoint-1500"), (500, 1500)),
        (("b.pt", "a.pt", "c.pt"), (0, 1, 2)),
        (("w9.pt", "w1.pt"), (0, 1)),
    ],
)
def test_steps_are_read_from_names_where_they_rise(labels, steps):
    from birthmark.weight_files.trajectories import find_steps

    assert find_steps(labels) == steps


def test_two_trainings_part_where_their_batches_do(tmp_path):
    trained(tmp_path / "a")
    trained(tmp_path / "b", order=1, fork=6)
    trained(tmp_path / "c", seed=1)
    found = bm.part(tmp_path / "a", tmp_path / "b", null=tmp_path / "c")
    step, where = found.first
    assert step == 10 and len(where) == 4
    a, b, c = (loaded(tmp_path / x / "step_40.safetensors") for x in "abc")
    for p, name in enumerate(found.tensors):
        for values, other in ((found.apart_TP, b), (found.null_TP, c)):
            expected = (a[name] - other[name]).norm() / a[name].norm()
            assert values[-1, p] == pytest.approx(float(expected))
    assert not found.differ_TP[:2].any()
    assert "part at step 10" in found.headline and "another seed" in found.headline
    same = bm.part(tmp_path / "a", tmp_path / "a")
    assert same.first is None and "the same at all 4 steps" in same.headline


def test_one_tensor_that_parts_first_is_named(tmp_path):
    files = trained(tmp_path / "a")
    (tmp_path / "b").mkdir()
    for step, file in zip(STEPS, files, strict=True):
        state = loaded(file)
        state = {n: t.float() for n, t in state.items()}
        if step >= 5:
            state["2.weight"][3, 4] += 1e-6
        if step >= 40:
            state["0.bias"] += 1
        save_file(state, tmp_path / "b" / file.name)
    found = bm.part(tmp_path / "a", tmp_path / "b")
    assert found.first == (5, ("2.weight",))
    assert found.table()[1][0][:2] == ["2.weight", "5"]
    assert found.table()[1][1][:2] == ["0.bias", "40"]
    assert found.table()[1][2][1] == "never"


def test_two_stored_runs_are_laid_side_by_side(tmp_path, birthmark):
    for name, arguments in (("a", {}), ("b", {"order": 1}), ("c", {"seed": 1})):
        files = trained(tmp_path / name, **arguments)
        bm.follow(files, store=tmp_path / "runs", name=name)
    runs = bm.open_store(tmp_path / "runs").runs().set_index("name")["run_key"]
    a, b, c = (tmp_path / "runs" / runs[name] for name in "abc")
    found = bm.part(a, b, null=c)
    assert found.first[0] == 5 and found.same_start
    assert bm.part(a, c).same_start is False
    moved = [
        bm.open_store(tmp_path / "runs").records(key, by="parameter")[
            "relative_distance"
        ]
        for key in (runs["a"], runs["b"])
    ]
    expected = abs(moved[0] - moved[1]).squeeze("replica").values
    assert found.apart_TP == pytest.approx(expected, nan_ok=True)
    status, out, _ = birthmark("diff", a, b, "--null", c)
    assert status == 0
    assert "part at step 5" in out and "although they start alike" in out


def test_the_command_follows_and_parts(tmp_path, birthmark):
    files = trained(tmp_path / "a")
    trained(tmp_path / "b", order=1, fork=6)
    status, out, err = birthmark(
        "diff", *files, "--to", tmp_path / "runs", "--name", "mine"
    )
    assert status == 0, err
    assert "step_40.safetensors was trained from" in out
    assert f"birthmark report {tmp_path / 'runs'}" in out
    page, data = tmp_path / "page.html", tmp_path / "data.json"
    both = ("--html", page, "--json", data)
    status, out, _ = birthmark("diff", tmp_path / "a", tmp_path / "b", *both)
    assert status == 0 and "part at step 10" in out
    told = json.loads(data.read_text())
    assert told["schema"] == "birthmark-parting/1" and str(page) in out
    parted = bm.part(tmp_path / "a", tmp_path / "b")
    for place, one in enumerate(told["tensors"]):
        assert one["apart"] == pytest.approx(parted.apart_TP[:, place].tolist())
    assert "part at step 10" in page.read_text() and one["name"] in page.read_text()
    status, out, err = birthmark("diff", *files, *both)
    assert status == 0, err
    told = json.loads(data.read_text())
    assert told["schema"] == "birthmark-trajectory/1"
    assert [one["step"] for one in told["checkpoints"]] == list(bm.follow(files).steps)[
        1:
    ]
    alone = json.loads(bm.diff(files[0], files[-1]).to_json())
    last = told["checkpoints"][-1]
    assert (last["total"], last["tensors"]) == (alone["total"], alone["tensors"])
    assert "step_40.safetensors" in page.read_text()
    status, _, err = birthmark("diff", files[0])
    assert status == 2 and "needs two checkpoints" in err


def test_what_cannot_be_followed_is_refused(tmp_path):
    files = trained(tmp_path / "a")
    with pytest.raises(WeightsError, match="at least two"):
        bm.follow(files[:1])
    with pytest.raises(WeightsError, match="steps must rise"):
        bm.follow(files, steps=[0, 2, 1, 3])
    with pytest.raises(WeightsError, match="no two numbered checkpoints"):
        bm.part(tmp_path, tmp_path)
