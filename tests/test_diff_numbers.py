"""The numbers of a diff against NumPy in float64, its null models against draws."""

import ctypes
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import birthmark as bm
from birthmark import compilation
from birthmark.compilation import compile_sources
from birthmark.weight_files import sums


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def moved(shape, size, seed=0, scale=0.02):
    """A draw, and the same after a random move."""
    generator = rng(seed)
    before = scale * torch.randn(shape, generator=generator)
    return before, before + size * torch.randn(shape, generator=generator)


def of_one(before, after, **kwargs):
    found = bm.diff({"w": before}, {"w": after}, **kwargs).tensors[0]
    return found, {name: one.value for name, one in found.readings.items()}


# more than one block, more than one task, rows longer than a block
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((), "float32"),
        ((3, 5), "float64"),
        ((3, 5), "bfloat16"),
        ((300, 400), "float16"),
        ((2, 90_000), "float8_e4m3fn"),
        ((4_300_001,), "float32"),
    ],
)
@pytest.mark.parametrize("compiled", [True, False])
def test_numbers_are_those_of_float64(shape, dtype, compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(sums, "find_kernel", lambda dtype: None)
    before, after = (x.to(getattr(torch, dtype)) for x in moved(shape, 0.01))
    found, values = of_one(before, after)
    a, b = (x.double().numpy().ravel() for x in (before, after))
    d = b - a
    expected = {
        "distance": np.linalg.norm(d),
        "relative_distance": np.linalg.norm(d) / np.linalg.norm(a),
        "deviation_max": np.abs(d).max(),
        "cosine": a @ b / np.linalg.norm(a) / np.linalg.norm(b),
        "changed": (a != b).mean(),
        "sign_flips": (np.sign(a) != np.sign(b))[a != 0].mean(),
        "shrinkage": (a @ d) ** 2 / (a @ a) / (d @ d),
        "nonfinite_count": 0,
    }
    if a.size > 1:
        expected["correlation"] = np.corrcoef(a, b)[0, 1]
        expected["slope"] = np.polyfit(a, b, 1)[0]
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, rel=1e-7, abs=1e-12), name
    assert found.count == a.size


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.parametrize("left", [0, 0.5, 0.999])
def test_a_library_that_was_cut_short_is_compiled_anew(tmp_path, monkeypatch, left):
    """Loading it would kill the process: pages beyond its end are a SIGBUS."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sources = "birthmark.weight_files", ["sums.c"], ["-fno-trapping-math"]
    path = compile_sources(*sources)
    if path is None:
        pytest.skip("there is no C compiler")
    assert compile_sources(*sources) == path
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * left)])
    again = compile_sources(*sources)
    assert len(again.read_bytes()) == len(whole)
    assert list(again.parent.iterdir()) == [again]
    ctypes.CDLL(str(again))


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_where_no_cache_can_be_kept_a_process_compiles_for_itself(
    tmp_path, monkeypatch
):
    """As in a home that may only be read: in a folder that is closed to others."""
    (tmp_path / "home").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    compilation._folder_of_process.cache_clear()
    path = compile_sources("birthmark.weight_files", ["sums.c"], ["-O0"])
    compilation._folder_of_process.cache_clear()
    ctypes.CDLL(str(path))
    assert path.parent.parent == tmp_path
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_the_kernels_are_compiled_where_there_is_a_compiler():
    for name in ("float32", "float64", "bfloat16"):
        assert sums.find_kernel(getattr(torch, name)) is not None


def test_numbers_are_those_of_the_table_of_measurements():
    before, after = moved((40, 30), 0.01)
    _, values = of_one(before, after)
    measured = bm.measure({"w": before}, {"w": after}, kind="scalars").squeeze()
    shared = set(values) & set(measured)
    assert {"distance", "relative_distance", "correlation", "cosine", "slope"} <= shared
    for name in shared:
        assert values[name] == pytest.approx(float(measured[name]), rel=1e-9), name


@pytest.mark.parametrize("size", [1e-200, 1e200, 1e-300, 1e300])
def test_numbers_whose_squares_float64_does_not_hold_are_right(size):
    """Ratios are those of the same numbers near 1; lengths are that times the size."""
    rng = np.random.default_rng(0)
    one = {"w": rng.uniform(-1, 1, (40, 30)), "b": rng.uniform(-1, 1, 30)}
    other = {
        name: 0.9 * x + 0.1 * rng.uniform(-1, 1, x.shape) for name, x in one.items()
    }
    plain = bm.diff(one, other)
    # exact: by a power of two
    scale = 2.0 ** np.floor(np.log2(size))
    far = bm.diff(*({n: x * scale for n, x in each.items()} for each in (one, other)))
    for name in one:
        for key, reading in far[name].readings.items():
            expected = plain[name].readings[key].value
            expected *= scale if key in ("distance", "deviation_max") else 1
            assert reading.value == pytest.approx(expected, rel=1e-12), key
    assert far.verdict.kind == plain.verdict.kind
    assert far.total.cosine.value == pytest.approx(plain.total.cosine.value)
    # the larger of two tensors is all there is of both together
    mixed = bm.diff(
        {"near": one["w"], "far": scale * one["w"]},
        {"near": other["w"], "far": -scale * one["w"]},
    )
    near = plain["w"].readings["cosine"].value
    assert mixed.total.cosine.value == pytest.approx(near if size < 1 else -1)


@pytest.mark.parametrize("sizes", [(1e-250, 1.0), (1.0, 1e250), (1e300, 1e-5)])
def test_tensors_of_sizes_far_apart_are_compared(sizes):
    """Each in a unit of its own: the larger sets the distance, correlations stay."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(20, 30)) for _ in range(2))
    b += a
    for one in (a, b):
        one[0] *= 1e-200  # whose products are no numbers any more, but have signs
    usual = bm.diff({"w": torch.tensor(a)}, {"w": torch.tensor(b)})["w"].readings
    x, y = a * sizes[0], b * sizes[1]
    compared = bm.diff({"w": torch.tensor(x)}, {"w": torch.tensor(y)})
    found = compared["w"].readings
    for name in ("correlation", "cosine"):
        assert found[name].value == pytest.approx(usual[name].value), name
        assert found[name].redraw == pytest.approx(usual[name].redraw), name
    kept = (np.sign(x) * np.sign(y) > 0).sum() / (x != 0).sum()
    assert found["sign_flips"].value == pytest.approx(1 - kept)
    rise = sizes[1] / sizes[0]
    assert found["slope"].value / rise == pytest.approx(usual["slope"].value)
    larger = max((a, sizes[0]), (b, sizes[1]), key=lambda one: one[1])
    distance = np.linalg.norm(larger[0]) * larger[1]
    assert found["distance"].value == pytest.approx(distance)
    relative = np.linalg.norm(larger[0]) * (larger[1] / sizes[0]) / np.linalg.norm(a)
    assert found["relative_distance"].value == pytest.approx(relative)
    assert compared.total.relative_distance.value == pytest.approx(relative)
    assert compared.total.cosine.value == pytest.approx(usual["cosine"].value)


def test_a_redraw_lies_where_its_null_model_says():
    before, _ = moved((300, 400), 0)
    other, _ = moved((300, 400), 0, seed=1)
    found, values = of_one(before, other + 0.01)
    readings = found.readings
    for name in ("relative_distance", "cosine", "sign_flips"):
        assert values[name] == pytest.approx(readings[name].redraw, abs=0.01), name
    assert readings["relative_distance"].redraw > 1.4
    std = readings["correlation"].redraw_std
    assert std == pytest.approx(1 / math.sqrt(128 * 1024 * 0.9), rel=0.5)
    assert found.state == "unrelated"


def test_noise_of_the_same_size_lies_where_its_null_model_says():
    before, after = moved((300, 400), 0.01)
    found, values = of_one(before, after)
    readings = found.readings
    for name in ("correlation", "cosine", "slope", "sign_flips"):
        assert values[name] == pytest.approx(readings[name].noise, abs=0.01), name
    ratio = readings["participation_ratio"]
    assert ratio.value == pytest.approx(ratio.noise, rel=0.05)
    # a uniform start has a closed form for small noise
    uniform = torch.rand(1000, 1000, generator=rng()) * 2 - 1
    noise = 0.05 * torch.randn(1000, 1000, generator=rng(1))
    flips = of_one(uniform, uniform + noise)[0].readings["sign_flips"]
    assert flips.value == pytest.approx(0.05 / math.sqrt(2 * math.pi), rel=0.03)
    assert flips.noise == pytest.approx(flips.value, rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weight_decay_alone_is_one_factor_and_nothing_is_left(dtype):
    before = moved((200, 100), 0)[0].to(dtype)
    found, values = of_one(before, (before.double() * 0.9).to(dtype))
    assert found.state == "scaled"
    assert found.readings["slope"].decay == pytest.approx(0.9, rel=1e-3)
    assert values["shrinkage"] == pytest.approx(1, abs=0.02)
    noise = 0.002 * torch.randn(200, 100, generator=rng(1))
    noisy = (before.double() * 0.9 + noise).to(dtype)
    assert of_one(before, noisy)[0].state == "moved"


def test_a_merged_adapter_shows_its_few_directions():
    before, _ = moved((256, 512), 0)
    low = torch.randn(256, 4, generator=rng(1)) @ torch.randn(4, 512, generator=rng(2))
    compared = bm.diff({"w": before}, {"w": before + 0.005 * low})
    ratio = compared["w"].readings["participation_ratio"]
    assert ratio.value < 4.01
    assert ratio.noise > 50
    assert "low_rank" in [finding.name for finding in compared.verdict.findings]


def test_not_finite_pairs_are_counted_and_left_out():
    before, after = moved((70, 80), 0.01)
    broken = after.clone()
    broken[3, 4], broken[5, 6] = float("nan"), float("inf")
    found, values = of_one(before, broken)
    assert found.state == "broken"
    assert values["nonfinite_count"] == 2
    whole = torch.ones(70, 80, dtype=torch.bool)
    whole[3, 4] = whole[5, 6] = False
    expected = (after - before).double()[whole].norm()
    assert values["distance"] == pytest.approx(float(expected), rel=1e-6)
    compared = bm.diff({"w": before}, {"w": broken})
    assert compared.verdict.findings[0].level == "error"
    assert '"nonfinite_count"' in compared.to_json()


def test_another_dtype_is_no_move_and_a_lost_move_is_counted():
    before, after = moved((256, 256), 1e-5)
    cast = bm.diff({"w": before}, {"w": before.bfloat16()})
    assert cast.verdict.kind == "identical"
    assert "bfloat16" in cast.verdict.headline
    stored = bm.diff({"w": before.bfloat16()}, {"w": after.bfloat16()})
    changed = (before.bfloat16() != after.bfloat16()).double().mean()
    assert stored["w"].readings["changed"].value == pytest.approx(float(changed))
    assert 0 < changed < 0.5
    assert "absorbed" in [finding.name for finding in stored.verdict.findings]


def test_a_tensor_that_started_at_zero_has_its_move_in_its_own_units():
    bias = torch.linspace(-1, 1, 50)
    found, values = of_one(torch.zeros(50), bias)
    assert found.state == "filled"
    assert math.isnan(values["relative_distance"])
    assert values["distance"] == pytest.approx(float(bias.double().norm()))
    rms = float(bias.double().square().mean().sqrt())
    text = bm.diff({"w": torch.zeros(50)}, {"w": bias}).text()
    assert f"from 0 to rms {rms:.2g}" in text


def test_torch_gets_its_own_number_of_threads_back():
    before = torch.get_num_threads()
    bm.diff({"w": torch.ones(3)}, {"w": torch.zeros(3)})
    assert torch.get_num_threads() == before


def test_a_mapped_file_is_not_written_to(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.randn(50, 50)}, path)
    content = path.read_bytes()
    bm.diff(path, path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "turn",
    [
        torch.conj,
        lambda z: torch.conj(z).imag,
        lambda z: torch.conj(z[:1, :1]).imag,  # lies in memory as it is, but its sign
    ],
)
def test_views_that_torch_turns_when_they_are_used_are_compared(turn, tmp_path):
    """The numbers of a conjugate, and of its imaginary part, are not in memory."""
    z = torch.complex(*moved((30, 40), 0.1)) + 2 + 3j
    view = turn(z)
    plain = torch.from_numpy(view.resolve_conj().resolve_neg().numpy())
    assert view.is_conj() or view.is_neg()
    torch.save({"w": view}, tmp_path / "view.pt")
    torch.save({"w": torch.zeros_like(plain)}, tmp_path / "zero.pt")
    before, moves = plain + 1, pytest.approx(plain.numel() ** 0.5, rel=1e-5)
    for after in (view, plain):
        assert of_one(before, after)[1]["distance"] == moves
        assert bm.measure({"w": before}, {"w": after}).distance.item() == moves
    (read,) = bm.diff(tmp_path / "zero.pt", tmp_path / "view.pt").tensors
    expected = float(np.linalg.norm(plain.numpy().astype(complex)))
    assert read.readings["distance"].value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:, 1],
        lambda x: x[0, ::2],
        lambda x: x[0, 0].expand(500),
        lambda x: x[:, :1].expand(30, 40),
        lambda x: x[0].unfold(0, 5, 1),
        lambda x: x.T,
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_views_are_compared_whatever_lies_between_their_numbers(view, dtype, tmp_path):
    a, b = (view(x.to(dtype)) for x in moved((30, 40), 0.1))
    torch.save({"w": a}, tmp_path / "a.pt")
    torch.save({"w": b}, tmp_path / "b.pt")
    before, after = (np.array(x.double().tolist()) for x in (a, b))
    expected = pytest.approx(np.linalg.norm(after - before), rel=1e-6)
    (read,) = bm.diff(tmp_path / "a.pt", tmp_path / "b.pt").tensors
    assert read.readings["distance"].value == expected
    assert of_one(a.contiguous(), b)[1]["distance"] == expected
    assert bm.measure({"w": a}, {"w": b}).distance.item() == expected
