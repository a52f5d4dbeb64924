"""Which tensor is which, where names, shapes and files have changed."""

import pytest
import torch
from safetensors.torch import save_file

import birthmark as bm
from birthmark.errors import WeightsError


def body(seed=0, blocks=2, width=32):
    """Weights of a small transformer under the names of Llama."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator) / shape[-1] ** 0.5

    tensors = {"embed_tokens.weight": draw(90, width)}
    for i in range(blocks):
        at = f"layers.{i}."
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            tensors[f"{at}self_attn.{name}.weight"] = draw(width, width)
        tensors[f"{at}mlp.gate_proj.weight"] = draw(2 * width, width)
        tensors[f"{at}mlp.up_proj.weight"] = draw(2 * width, width)
        tensors[f"{at}mlp.down_proj.weight"] = draw(width, 2 * width)
        tensors[f"{at}norm.weight"] = torch.ones(width)
    return tensors


def stepped(tensors, size=0.02):
    generator = torch.Generator().manual_seed(99)
    return {
        name: t + size * torch.randn(t.shape, generator=generator)
        for name, t in tensors.items()
    }


def distances(compared):
    """By the name in the first, whatever the second calls it."""
    return {t.name_a: t.readings["distance"].value for t in compared.tensors}


def assert_same_as_plain(before, after, other):
    """`other` is `after` in another dress."""
    compared = bm.diff(before, other)
    assert distances(compared) == pytest.approx(distances(bm.diff(before, after)))
    assert not compared.only_a and not compared.only_b and not compared.reshaped
    return compared


@pytest.mark.parametrize(
    "dress",
    [
        lambda name: f"_orig_mod.{name}",
        lambda name: f"module._orig_mod.{name}",
        lambda name: name.replace("self_attn.", "self_attn._fsdp_wrapped_module."),
        lambda name: f"model.{name}",
        lambda name: f"base_model.model.model.{name}",
    ],
)
def test_wrappers_and_prefixes_are_seen_through_on_either_side(dress):
    before = body()
    after = stepped(before)
    other = {dress(name): tensor for name, tensor in after.items()}
    compared = assert_same_as_plain(before, after, other)
    assert all(t.how for t in compared.tensors if t.name != t.name_a)
    back = bm.diff(other, before)
    assert len(back.tensors) == len(before)
    assert not back.only_a and not back.only_b


def test_renamed_and_reordered_blocks_are_found_by_their_numbers():
    before = body()
    after = stepped(before)
    renamed = {}
    for name, tensor in after.items():
        # block 0 is called 1, and attention and norm have other names
        parts = name.split(".")
        if parts[0] == "layers":
            parts[0], parts[1] = "h", str(1 - int(parts[1]))
        new = ".".join(parts).replace("self_attn.o_proj", "attn.out")
        new = new.replace("mlp.gate_proj", "ffn.g").replace("embed_tokens", "wte")
        renamed[new] = tensor
    compared = bm.diff(before, renamed)
    expected = distances(bm.diff(before, after))
    found = distances(compared)
    for name, distance in expected.items():
        if "norm" not in name:  # all ones: nothing tells them apart
            assert found[name] == pytest.approx(distance), name
    assert "matched" in [finding.name for finding in compared.verdict.findings]


def test_a_module_renamed_takes_its_bias_along():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(30, 20, generator=generator)
    before = {"a.weight": weight, "a.bias": torch.zeros(30)}
    after = {"b.lin.weight": weight + 0.1, "b.lin.bias": torch.ones(30)}
    assert distances(bm.diff(before, after)).keys() == before.keys()


@pytest.mark.parametrize("square", [False, True])
def test_turned_matrices_are_turned_back(square):
    before = {"c_fc.weight": torch.randn(40, 40 if square else 30)}
    after = stepped(before)
    other = {name: tensor.T.contiguous() for name, tensor in after.items()}
    compared = assert_same_as_plain(before, after, other)
    assert compared.tensors[0].how == "transposed"


def test_a_convolution_of_keras_is_one_of_torch():
    kernel = torch.randn(8, 4, 3, 3)
    before = {"conv.weight": kernel, "conv.bias": torch.zeros(8)}
    after = stepped(before)
    other = {
        "conv/kernel": after["conv.weight"].permute(2, 3, 1, 0).contiguous(),
        "conv/bias": after["conv.bias"],
    }
    assert_same_as_plain(before, after, other)


def fuse(tensors, axis=0, order=("q", "k", "v")):
    parts = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
    fused = {n: t for n, t in tensors.items() if n.split(".")[-2] not in parts}
    for i in range(2):
        parts = [tensors[f"layers.{i}.self_attn.{p}_proj.weight"] for p in order]
        qkv = torch.cat(parts)
        fused[f"layers.{i}.self_attn.qkv_proj.weight"] = qkv.T if axis else qkv
        gates = [tensors[f"layers.{i}.mlp.{p}_proj.weight"] for p in ("gate", "up")]
        fused[f"layers.{i}.mlp.gate_up_proj.weight"] = torch.cat(gates)
    return {name: t.contiguous() for name, t in fused.items()}


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("order", [("q", "k", "v"), ("v", "q", "k")])
def test_fused_projections_are_compared_with_their_parts(axis, order):
    before = body()
    after = stepped(before)
    compared = assert_same_as_plain(before, after, fuse(after, axis, order))
    assert any("part of" in t.how for t in compared.tensors)
    back = bm.diff(fuse(before, axis, order), after)
    assert len(back.tensors) == len(before)
    found = {t.name: t.readings["distance"].value for t in back.tensors}
    assert found == pytest.approx(distances(bm.diff(before, after)))


def test_tensors_in_parts_of_ranks_are_put_together(tmp_path):
    before = body()
    after = stepped(before)
    folder = tmp_path / "ranks"
    folder.mkdir()
    for rank in range(2):
        part = {}
        for name, tensor in after.items():
            axis = 1 if "o_proj" in name or "down_proj" in name else 0
            whole = tensor.ndim == 1
            part[name] = tensor if whole else tensor.chunk(2, axis)[rank].contiguous()
        torch.save(part, folder / f"consolidated.{rank:02d}.pth")
    compared = bm.diff(before, folder)
    expected = distances(bm.diff(before, after))
    for name, distance in distances(compared).items():
        # what every rank has counts once for each
        factor = 2**0.5 if "norm" in name else 1
        assert distance == pytest.approx(factor * expected[name]), name


def test_what_is_missing_new_or_reshaped_is_listed():
    before = body()
    after = stepped(before)
    after["lm_head.weight"] = torch.randn(90, 32)
    del after["layers.1.mlp.down_proj.weight"]
    after["embed_tokens.weight"] = torch.randn(100, 32)
    compared = bm.diff(before, after)
    assert [name for name, _ in compared.only_b] == ["lm_head.weight"]
    assert [name for name, _ in compared.only_a] == ["layers.1.mlp.down_proj.weight"]
    assert compared.reshaped == (("embed_tokens.weight", (90, 32), (100, 32)),)
    names = [finding.name for finding in compared.verdict.findings]
    assert names.count("missing") == 2 and "reshaped" in names
    assert "3 without a partner" in compared.text()


def test_nothing_in_common_is_an_error_that_says_what_each_has(tmp_path):
    save_file({"a.weight": torch.randn(4, 5)}, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"1 tensors, as a.weight \[4, 5\]"):
        bm.diff(tmp_path / "a.safetensors", {"b": torch.randn(7)})
    with pytest.raises(WeightsError, match="same name and another shape"):
        bm.diff(tmp_path / "a.safetensors", {"a.weight": torch.randn(7, 2)})
