"""Starts from something trained, and how specs name files, patterns and layers."""

import copy
import hashlib
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from birthmark.errors import SpecError
from birthmark.network import Target, draw, draw_weights, find_law_for, initialize_
from birthmark.spec import RuleSpec, RunSpec

RNG = np.random.default_rng(0)
W = RNG.normal(0.1, 0.3, (12, 8)).astype(np.float32)
W[0, :3] = 0
B = RNG.normal(0, 1, 8).astype(np.float32)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "trained.safetensors"
    save_file({"layer.w": W, "layer.b": B, "net.0.weight": W.T.copy()}, path)
    return str(path)


def test_a_checkpoint_is_taken_as_it_is_weights_and_biases(file):
    rule = {"name": "checkpoint", "file": file}
    np.testing.assert_array_equal(draw(rule, (12, 8), tensor="layer.w"), W)
    np.testing.assert_array_equal(draw(rule, (8,), tensor="layer.b"), B)
    transposed = draw(rule, (8, 12), tensor="layer.w", layout="OI")
    np.testing.assert_array_equal(transposed, W.T)


def test_weights_named_as_in_torch_are_read_as_torch_lays_them_out(file):
    rule = {"name": "checkpoint", "file": file, "key": "net.0.weight"}
    np.testing.assert_array_equal(draw(rule, (12, 8), tensor="hidden1.w"), W)
    found = draw({**rule, "layout": "IO"}, (8, 12), tensor="hidden1.w")
    np.testing.assert_array_equal(found, W.T)


def test_state_dicts_of_torch_and_archives_of_numpy_are_read(tmp_path):
    conv = torch.nn.Conv2d(3, 5, 2, dtype=torch.bfloat16)
    kernel = conv.weight.detach().float().numpy()
    torch.save(conv.state_dict(), tmp_path / "conv.pt")
    torch.save({"state_dict": conv.state_dict(), "epoch": 3}, tmp_path / "nested.pth")
    np.savez(tmp_path / "conv.npz", **{"weight": kernel})
    for name in ("conv.pt", "nested.pth", "conv.npz"):
        other = torch.nn.Conv2d(3, 5, 2)
        initialize_(other, {"name": "checkpoint", "file": str(tmp_path / name)})
        np.testing.assert_array_equal(other.weight.detach().numpy(), kernel)


def test_of_a_stacked_file_each_replica_takes_its_own(tmp_path, rng):
    stack = rng.normal(size=(3, 12, 8))
    save_file({"layer.w": stack}, tmp_path / "stack.safetensors")
    rule = {"name": "checkpoint", "file": str(tmp_path / "stack.safetensors")}
    for replica in range(3):
        found = draw(rule, (12, 8), tensor="layer.w", replica=replica, dtype=float)
        np.testing.assert_array_equal(found, stack[replica])
    with pytest.raises(SpecError, match="replica 3 of layer.w wants"):
        draw(rule, (12, 8), tensor="layer.w", replica=3)


def test_statistics_are_kept_and_numbers_are_not(file):
    rule = {"name": "statistics_only", "file": file, "key": "layer.w"}
    target = Target(12, 8, (), "layer.w")
    law = find_law_for(RuleSpec(**rule), target)
    assert law.mean == pytest.approx(W.astype(float).mean())
    assert law.std == pytest.approx(W.astype(float).std())
    assert len(np.intersect1d(draw(rule, (12, 8), tensor="layer.w"), W)) == 0


def test_shuffling_keeps_the_entries_and_moves_them(file):
    rule = {"name": "shuffled", "file": file}
    found = draw(rule, (12, 8), tensor="layer.w", seed=3)
    np.testing.assert_array_equal(np.sort(found, axis=None), np.sort(W, axis=None))
    assert (found == W).mean() < 0.2
    assert (found != draw(rule, (12, 8), tensor="layer.w", seed=4)).any()


@pytest.mark.parametrize("law", ["glorot_uniform", "he_normal"])
def test_shuffling_what_the_same_seed_drew_does_not_put_it_in_order(law, tmp_path):
    path = str(tmp_path / "drawn.npz")
    np.savez(path, **{"layer.w": draw(law, (100, 80), tensor="layer.w")})
    found = draw({"name": "shuffled", "file": path}, (100, 80), tensor="layer.w")
    place = np.arange(found.size)
    # 5 standard errors of the correlation of independent values
    assert abs(np.corrcoef(place, found.ravel())[0, 1]) < 5 / found.size**0.5


@pytest.mark.parametrize("law", ["glorot_uniform", "he_normal", "signed_constant"])
def test_signs_are_kept_and_magnitudes_are_those_of_a_law(file, law):
    rule = {"name": "signs_only", "file": file, "magnitudes": law}
    found = draw(rule, (12, 8), tensor="layer.w")
    np.testing.assert_array_equal(np.sign(found), np.sign(W))
    magnitudes = np.abs(draw(law, (12, 8), tensor="layer.w"))
    np.testing.assert_array_equal(np.abs(found)[W != 0], magnitudes[W != 0])


def test_a_lottery_ticket_rewinds_the_largest_weights(file, tmp_path, rng):
    initial = rng.normal(size=(12, 8)).astype(np.float32)
    start = tmp_path / "initial.safetensors"
    save_file({"layer.w": initial, "layer.b": -B}, start)
    rule = {"name": "lottery_ticket", "file": file, "initial_file": str(start)}
    found = draw({**rule, "sparsity": 0.75}, (12, 8), tensor="layer.w")
    kept = found != 0
    assert kept.sum() == 24
    np.testing.assert_array_equal(found[kept], initial[kept])
    assert np.abs(W)[kept].min() >= np.abs(W)[~kept].max()
    biases = draw({**rule, "sparsity": 0.75}, (8,), tensor="layer.b")
    np.testing.assert_array_equal(biases, -B)
    with pytest.raises(SpecError, match="at least 0 and below 1"):
        draw({**rule, "sparsity": 1}, (12, 8), tensor="layer.w")


@pytest.mark.parametrize(
    ("change", "shape", "message"),
    [
        (
            {"file": "none.safetensors"},
            (12, 8),
            "'none.safetensors' cannot be read: No",
        ),
        ({"key": "layer.v"}, (12, 8), "no tensor 'layer.v': name one by key"),
        ({}, (12, 9), r"shape \(12, 8\) .* wants \(12, 9\)"),
        ({"file_sha256": "0" * 64}, (12, 8), "not the one the spec was made with"),
        ({"layout": "HWIO"}, (12, 8), "layout is one of auto, IO, OI"),
        ({"file": 3.0}, (12, 8), "file must be a text"),
    ],
)
def test_files_that_do_not_serve_are_refused_in_one_line(file, change, shape, message):
    rule = {"name": "checkpoint", "file": file, **change}
    if change.get("file") == 3.0:
        rule["file_sha256"] = "0"
    with pytest.raises(SpecError, match=message) as caught:
        draw(rule, shape, tensor="layer.w")
    assert "\n" not in str(caught.value)


def test_a_file_of_something_else_is_refused_and_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path(tmp_path / "sprung").touch, ()

    for name, content in (
        ("trap.pt", pickle.dumps(Trap())),
        ("text.safetensors", b"no tensors"),
        ("text.npz", b"no archive"),
    ):
        (tmp_path / name).write_bytes(content)
        rule = {"name": "checkpoint", "file": str(tmp_path / name)}
        with pytest.raises(SpecError, match="holds no tensors"):
            draw(rule, (2, 2), tensor="w")
    assert not (tmp_path / "sprung").exists()


# in the spec of a run


def make_spec(initialization, **tables):
    return RunSpec(
        data={"name": "digits"},
        network={"widths": [12, 8]},
        initialization=initialization,
        run={"replicas": 2},
        **tables,
    )


def test_a_run_starts_where_another_ended(tmp_path):
    first = draw_weights(make_spec({"name": "he_normal"}), 64, 10, replicas=[0, 1])
    arrays = {}
    for name, layer in first.items():
        arrays |= {f"{name}.w": layer.w.numpy(), f"{name}.b": layer.b.numpy() + 1}
    save_file(arrays, tmp_path / "weights.safetensors")
    rule = {"name": "checkpoint", "file": str(tmp_path / "weights.safetensors")}
    again = draw_weights(make_spec({**rule, "bias": rule}), 64, 10, replicas=[1, 0])
    for name in first:
        torch.testing.assert_close(again[name].w.flip(0), first[name].w)
        torch.testing.assert_close(again[name].b.flip(0), first[name].b + 1)


def test_a_file_counts_by_its_content_and_lies_beside_the_spec(tmp_path):
    save_file({"x": W}, tmp_path / "a.safetensors")
    text = (
        '[data]\nname = "digits"\n[initialization]\nname = "checkpoint"\n'
        'file = "a.safetensors"\n[initialization.layers."hidden*"]\nname = "shuffled"\n'
        'file = "a.safetensors"\n'
    )
    (tmp_path / "run.toml").write_text(text)
    spec = RunSpec.from_toml(tmp_path / "run.toml")
    content = (tmp_path / "a.safetensors").read_bytes()
    assert spec.initialization.parameters["file_sha256"] == (
        hashlib.sha256(content).hexdigest()
    )
    inner = spec.initialization.layers["hidden*"].parameters["file"]
    assert inner == str((tmp_path / "a.safetensors").resolve())
    # elsewhere, by another name
    (tmp_path / "b.safetensors").write_bytes(content)
    moved = RunSpec.from_toml(
        tmp_path / "run.toml",
        {"initialization.file": str(tmp_path / "b.safetensors")},
    )
    assert moved.run_key == spec.run_key
    save_file({"x": W + 1}, tmp_path / "a.safetensors")
    assert RunSpec.from_toml(tmp_path / "run.toml").run_key != spec.run_key
    # written out and read again it asks for the file it was made with
    (tmp_path / "again.toml").write_text(spec.to_toml())
    again = RunSpec.from_toml(tmp_path / "again.toml")
    assert again.run_key == spec.run_key
    with pytest.raises(SpecError, match="not the one the spec was made with"):
        draw_weights(again, 64, 10, replicas=[0])


def test_a_missing_file_is_refused_with_its_line(tmp_path):
    (tmp_path / "run.toml").write_text(
        '[data]\nname = "digits"\n[initialization]\nname = "checkpoint"\n'
        'file = "none.safetensors"\n'
    )
    with pytest.raises(SpecError, match="line 3: initialization: file .*none.safet"):
        RunSpec.from_toml(tmp_path / "run.toml")


def test_patterns_name_layers_and_the_full_name_comes_first():
    layers = {"hidden*": {"name": "zeros"}, "hidden2": {"name": "ones"}}
    weights = draw_weights(make_spec({"layers": layers}), 64, 10, replicas=[0])
    assert not weights["hidden1"].w.any()
    assert (weights["hidden2"].w == 1).all()
    assert weights["output"].w.std() > 0


def test_patterns_that_match_nothing_or_the_same_layer_are_refused():
    with pytest.raises(SpecError, match="initialization.layers: unknown layer 'conv"):
        make_spec({"layers": {"conv*": {"name": "zeros"}}})
    layers = {"hidden*": {"name": "zeros"}, "*1": {"name": "ones"}}
    with pytest.raises(SpecError, match="'hidden\\*' and '\\*1' both match hidden1"):
        make_spec({"layers": layers})


def test_layers_of_a_spec_are_frozen_and_go_round_trip(tmp_path):
    spec = make_spec({"layers": {"hidden*": {"name": "sparse", "num_inputs": 3}}})
    with pytest.raises(TypeError):
        spec.initialization.layers["hidden1"] = RuleSpec(name="zeros")
    with pytest.raises(AttributeError):
        spec.initialization.layers.update({})
    for again in (
        pickle.loads(pickle.dumps(spec)),
        copy.deepcopy(spec),
        RunSpec(**spec.model_dump()),
        spec.with_settings({}),
    ):
        assert again == spec
        assert again.run_key == spec.run_key
    (tmp_path / "run.toml").write_text(spec.to_toml())
    assert RunSpec.from_toml(tmp_path / "run.toml") == spec


def test_run_keys_are_those_of_the_first_release():
    specs = {
        "PLAIN": RunSpec(data={"name": "mnist"}),
        "MARKED": RunSpec(data={"name": "mnist"}, mark={"text": "a"}),
        "LAYERS": RunSpec(
            data={"name": "mnist"},
            initialization={
                "name": "uniform",
                "low": -1,
                "bias": {"name": "constant", "value": 0.1},
                "layers": {"hidden2": {"name": "orthogonal", "gain": 2.0}},
            },
        ),
    }
    assert {name: spec.run_key for name, spec in specs.items()} == FIRST_RELEASE


FIRST_RELEASE = {
    "PLAIN": "b5fa7c3a4d7cf9c8",
    "MARKED": "6875aebea36c9415",
    "LAYERS": "108e2148bf05732e",
}


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (torch.ones(8, 12, dtype=torch.complex64), "complex64, and weights are numb"),
        (torch.ones(8, 12, dtype=torch.bool), "bool, and weights are numbers"),
        (torch.full((8, 12), float("nan")), "96 of 96 numbers of a.weight are NaN or"),
        (torch.ones(8, 12) / 0, "96 of 96 numbers of a.weight are NaN or infinite"),
        (torch.ones(8, 12).to_sparse(), "sparse, quantized or without numbers"),
        (torch.ones(8, 12, device="meta"), "sparse, quantized or without numbers"),
        (torch.ones(1).expand(10**12), r"has the shape \(1000000000000,\)"),
    ],
)
def test_tensors_that_are_no_weights_are_refused(tmp_path, tensor, says):
    torch.save({"a.weight": tensor, 3: torch.ones(2)}, tmp_path / "a.pt")
    rule = {"name": "checkpoint", "file": str(tmp_path / "a.pt")}
    with pytest.raises(SpecError, match=says):
        draw(rule, (12, 8), tensor="a.w")


@pytest.mark.parametrize("dtype", ["complex64", "bool", "U3", "i4,f4", "M8[s]"])
def test_arrays_that_are_no_weights_are_refused_and_others_beside_them_read(
    tmp_path, dtype
):
    odd = np.zeros((8, 12), dtype)
    np.savez(tmp_path / "a.npz", **{"odd.weight": odd, "a.weight": W.T})
    rule = {"name": "checkpoint", "file": str(tmp_path / "a.npz")}
    with pytest.raises(SpecError, match="weights are numbers"):
        draw(rule, (12, 8), tensor="odd.w")
    np.testing.assert_array_equal(draw(rule, (12, 8), tensor="a.w"), W)


def test_an_array_of_another_shape_is_not_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", **{"a.weight": np.zeros((9, 10**6))})
    rule = {"name": "checkpoint", "file": str(tmp_path / "a.npz")}
    monkeypatch.setattr("birthmark.network.initializations.files.read_entry", None)
    with pytest.raises(SpecError, match=r"has the shape \(1000000, 9\)"):
        draw(rule, (12, 8), tensor="a.w")


def test_a_packed_file_of_torch_is_read_if_it_stands_for_few(tmp_path, monkeypatch):
    monkeypatch.setattr("birthmark.foreign_files._FEW", 2**20)
    for name, more in (("few", 10), ("many", 10**6)):
        plain = {"a.w": torch.from_numpy(W), "more": torch.zeros(more)}
        torch.save(plain, tmp_path / "plain")
        with (
            zipfile.ZipFile(tmp_path / "plain") as archive,
            zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as packed,
        ):
            for entry in archive.namelist():
                packed.writestr(entry, archive.read(entry))
    rule = {"name": "checkpoint", "file": str(tmp_path / "few")}
    np.testing.assert_array_equal(draw(rule, W.shape, tensor="a.w"), W)
    with pytest.raises(SpecError, match="stands for 4,0"):
        draw(rule | {"file": str(tmp_path / "many")}, W.shape, tensor="a.w")


class Code:
    def __reduce__(self):
        return (print, ("this was run",))


def test_a_pickle_with_code_is_refused_without_a_hint_how_to_run_it(tmp_path, capsys):
    torch.save({"a.weight": torch.ones(8, 12), "x": Code()}, tmp_path / "a.pt")
    rule = {"name": "checkpoint", "file": str(tmp_path / "a.pt")}
    with pytest.raises(SpecError, match="loading could run code$"):
        draw(rule, (12, 8), tensor="a.w")
    assert capsys.readouterr().out == ""
