"""Checkpoints of every format, against the libraries that wrote them."""

import json
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import birthmark as bm
from birthmark.errors import WeightsError
from birthmark.weight_files import open_weights

KERAS = Path(__file__).parent / "keras_files"
DTYPES = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


def network(seed=0, width=32):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, 10)
    )


def assert_holds(path, expected):
    found = open_weights(path).tensors
    assert sorted(found) == sorted(expected)
    for name, tensor in expected.items():
        loaded = found[name].load()
        assert found[name].shape == tuple(tensor.shape)
        assert loaded.dtype == tensor.dtype
        same = loaded.double() == tensor.double()
        assert bool((same | tensor.double().isnan()).all()), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_safetensors_hold_what_was_saved_in_every_dtype(tmp_path, dtype):
    saved = {
        "a.weight": torch.randn(5, 7).to(getattr(torch, dtype)),
        "steps": torch.arange(3),
        "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(2.5),
    }
    save_file(saved, tmp_path / "a.safetensors")
    assert_holds(tmp_path / "a.safetensors", saved)


@pytest.mark.parametrize("old", [False, True])
def test_torch_files_hold_views_nested_and_tied_tensors(tmp_path, old):
    matrix = torch.randn(6, 4)
    content = {
        "epoch": 3,
        "model": {"w": matrix, "turned": matrix.T, "row": matrix[2], "tied": matrix},
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}},
    }
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=not old)
    assert_holds(tmp_path / "a.pt", content["model"])
    assert "left out epoch, optimizer" in open_weights(tmp_path / "a.pt").notes[0]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_holds_arrays_in_either_order_and_endianness(tmp_path, save):
    arrays = {
        "c": np.arange(12.0).reshape(3, 4),
        "fortran": np.asfortranarray(np.arange(12.0, dtype="f4").reshape(3, 4)),
        "big": np.arange(5, dtype=">f8"),
    }
    save(tmp_path / "a.npz", **arrays)
    native = {n: a.astype(a.dtype.newbyteorder("=")) for n, a in arrays.items()}
    assert_holds(
        tmp_path / "a.npz", {n: torch.from_numpy(a) for n, a in native.items()}
    )
    np.save(tmp_path / "a.npy", arrays["fortran"])
    assert_holds(tmp_path / "a.npy", {"a": torch.from_numpy(native["fortran"])})


@pytest.mark.parametrize(
    ("file", "when"),
    [("start.keras", "start"), ("end.keras", "end"), ("end.h5", "end"),
     ("end.weights.h5", "end")],
)  # fmt: skip
def test_keras_files_hold_what_keras_says_under_its_names(file, when):
    with np.load(KERAS / "weights.npz") as said:
        expected = {
            name.rpartition("/")[0]: torch.from_numpy(said[name])
            for name in said.files
            if name.endswith(f"/{when}")
        }
    assert_holds(KERAS / file, expected)


def test_hdf5_holds_chunked_arrays_and_bfloat16_as_keras_writes_them(tmp_path):
    values = torch.randn(4, 6).to(torch.bfloat16)
    raw = values.view(torch.int16).numpy().view("V2")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset(
            "chunked", data=np.eye(4), chunks=(2, 2), compression="gzip"
        )
        file.create_dataset("half", data=raw).attrs["dtype"] = "bfloat16"
    expected = {"chunked": torch.eye(4, dtype=torch.float64), "half": values}
    assert_holds(tmp_path / "a.h5", expected)


def test_tensors_of_safetensors_come_in_the_order_of_their_numbers(tmp_path):
    names = [f"layers.{i}.weight" for i in (0, 1, 2, 10, 11)]
    save_file({name: torch.zeros(2) for name in names}, tmp_path / "a.safetensors")
    assert list(open_weights(tmp_path / "a.safetensors").tensors) == names


def test_shards_are_read_by_index_by_number_and_by_folder(tmp_path):
    state = network().state_dict()
    names = list(state)
    files = {"model-00001-of-00002.safetensors": names[:2],
             "model-00002-of-00002.safetensors": names[2:]}  # fmt: skip
    for file, part in files.items():
        save_file({name: state[name] for name in part}, tmp_path / file)
    assert_holds(tmp_path, state)
    index = tmp_path / "model.safetensors.index.json"
    where = {name: file for file, part in files.items() for name in part}
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    assert_holds(tmp_path, state)
    assert_holds(index, state)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(WeightsError, match="1 are missing"):
        open_weights(tmp_path)
    index.unlink()
    with pytest.raises(WeightsError, match="has 1 of 2 shards"):
        open_weights(tmp_path)


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path, old):
    content = {"model": {"w": torch.zeros(2)}, "more": Harmful(tmp_path / "ran")}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=not old)
    with pytest.raises(WeightsError, match="could run code") as raised:
        open_weights(tmp_path / "a.pt")
    assert "weights_only" not in str(raised.value)
    assert not (tmp_path / "ran").exists()
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(Harmful(tmp_path / "ran")))
    with pytest.raises(WeightsError, match="could run code|cannot be read"):
        open_weights(tmp_path / "b.pkl")
    np.savez(tmp_path / "a.npz", a=np.array([Harmful(tmp_path / "ran")], dtype=object))
    with pytest.raises(WeightsError, match="could run code"):
        open_weights(tmp_path / "a.npz")
    assert not (tmp_path / "ran").exists()


_HEADER = b'{"w":{"dtype":"F32","shape":[16],"data_offsets":[-64,0]}}'.ljust(64)
BEFORE_ITS_NUMBERS = (64).to_bytes(8, "little") + _HEADER  # its header, as weights


def _save_all(folder):
    state = network().state_dict()
    save_file(state, folder / "a.safetensors")
    torch.save(state, folder / "a.pt")
    np.savez(folder / "a.npz", **{n: t.numpy() for n, t in state.items()})
    for file in ("end.keras", "end.h5"):
        (folder / file).write_bytes((KERAS / file).read_bytes())


@pytest.mark.parametrize(
    "file", ["a.safetensors", "a.pt", "a.npz", "end.keras", "end.h5"]
)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_refused_in_one_line(tmp_path, file, share):
    _save_all(tmp_path)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError) as raised:
        for tensor in open_weights(tmp_path / file).tensors.values():
            tensor.load()
    assert "\n" not in str(raised.value)
    assert file in str(raised.value)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: None, "there is no file"),
        (lambda p: p.mkdir(), "has no weights in it"),
        (lambda p: p.write_text("hello, these are no weights"), "of no format"),
        (lambda p: p.write_bytes(b"GGUF" + bytes(99)), "GGUF"),
        (lambda p: torch.save({"epoch": 3}, p), "holds no tensors"),
        (lambda p: zipfile.ZipFile(p, "w").writestr("a.txt", "a"), "without weights"),
        (lambda p: p.write_bytes((8).to_bytes(8, "little") + b"{broken}"), "no JSON"),
        (lambda p: (p.mkdir(), (p / "__0_0.distcp").touch()), "dcp_to_torch"),
        (
            lambda p: torch.save({"w": torch.ones(3, device="meta")}, p),
            "without its nu",
        ),
        (lambda p: p.write_bytes(BEFORE_ITS_NUMBERS), "w is .16. from byte -64 on"),
    ],
)
def test_what_is_no_checkpoint_is_refused_with_what_to_do(tmp_path, make, says):
    make(tmp_path / "a")
    with pytest.raises(WeightsError, match=says):
        open_weights(tmp_path / "a")


def _packed_anew(path):
    """A file of `torch.save`, each of its entries compressed."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def _compressed(path, count):
    with path.open("wb") as file:
        np.savez_compressed(file, w=np.zeros(count, "f4"))


def _chunked(path, count):
    with h5py.File(path, "w") as file:
        file.create_dataset("w", (count,), "f4", chunks=(1000,), fillvalue=1.0)


def _overlapping(path, count):
    entry = {"dtype": "F32", "shape": [10000], "data_offsets": [0, 40000]}
    header = json.dumps({f"w{i}": entry for i in range(count // 10_000)}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(40_000))


@pytest.mark.parametrize(
    "save",
    [
        lambda p, count: torch.save({"w": torch.ones(1).expand(count)}, p),
        lambda p, count: (torch.save({"w": torch.zeros(count)}, p), _packed_anew(p)),
        _compressed,
        _chunked,
        _overlapping,
    ],
)
def test_a_small_file_stands_for_few_numbers(tmp_path, save, monkeypatch):
    """By strides, packing, a fill value or the same bytes: as many as are refused."""
    monkeypatch.setattr("birthmark.foreign_files._FEW", 2**20)
    save(tmp_path / "few", 250_000)
    opened = open_weights(tmp_path / "few")
    assert opened.count == 250_000
    for tensor in opened.tensors.values():
        assert len(tensor.load().unique()) == 1
    save(tmp_path / "many", 10_000_000)
    with pytest.raises(WeightsError, match="many has .* bytes and stands for 40,0"):
        open_weights(tmp_path / "many")


def test_formats_and_live_models_give_the_same_difference(tmp_path):
    first, second = network(0), network(1)
    files = {}
    for name, model in (("a", first), ("b", second)):
        state = model.state_dict()
        save_file(state, tmp_path / f"{name}.safetensors")
        torch.save({"state_dict": state}, tmp_path / f"{name}.ckpt")
        np.savez(tmp_path / f"{name}.npz", **{n: t.numpy() for n, t in state.items()})
        files[name] = [
            tmp_path / f"{name}{end}" for end in (".safetensors", ".ckpt", ".npz")
        ]
    pairs = [
        *zip(*files.values(), strict=True),
        (first, second),
        (files["a"][0], second),
    ]
    found = [
        {t.name: t.readings["distance"].value for t in bm.diff(a, b).tensors}
        for a, b in pairs
    ]
    assert all(one == found[0] for one in found)
    assert len(found[0]) == 4


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_a_flipped_bit_is_read_or_refused_in_one_line(tmp_path, suffix):
    """Also where the damage shows only when the numbers are read."""
    tensors = {"w": torch.arange(60.0).reshape(6, 10), "b": torch.ones(6)}
    path = tmp_path / f"whole{suffix}"
    if suffix == ".npz":
        np.savez(path, **{name: x.numpy() for name, x in tensors.items()})
    else:
        torch.save(tensors, path)
    whole, harmed = path.read_bytes(), tmp_path / f"harmed{suffix}"
    refused = 0
    for bit in range(0, 8 * len(whole), 101):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        harmed.write_bytes(flipped)
        try:
            bm.diff(path, harmed).text()
        except WeightsError as error:
            assert str(harmed) in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 10
