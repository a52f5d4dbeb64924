"""Finding, importing and verifying files, and what is said of damaged ones."""

import bz2
import contextlib
import gzip
import hashlib
import http.server
import io
import os
import signal
import struct
import subprocess
import sys
import tarfile
import threading
import time
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from birthmark.data import (
    describe_dataset,
    import_dataset,
    list_datasets,
    load_dataset,
    verify_dataset,
)
from birthmark.data.catalogue import CATALOGUE
from birthmark.data.folders import replacing
from birthmark.errors import DataError, SpecError, WeightsError
from birthmark.foreign_files import damage_named
from birthmark.spec import RunSpec
from birthmark.weight_files.opening import open_weights

NAMES = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
]


def idx_bytes(array):
    """An IDX file of uint8, unpacked."""
    head = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


def shrink(monkeypatch, name, seed):
    """Let the catalogue know small files in place of a set's; give them unpacked."""
    draw = np.random.default_rng(seed)
    arrays = [
        draw.integers(0, 256, (30, 28, 28)),
        (np.arange(30) + seed) % 10,
        draw.integers(0, 256, (10, 28, 28)),
        (np.arange(10) + seed) % 10,
    ]
    contents = dict(zip(NAMES, map(idx_bytes, arrays), strict=True))
    files = tuple(
        replace(file, md5=hashlib.md5(contents[file.name]).hexdigest())
        for file in CATALOGUE[name].files
    )
    entry = replace(CATALOGUE[name], files=files, num_train=30, num_test=10)
    monkeypatch.setitem(CATALOGUE, name, entry)
    return contents


def write(folder, contents, **gz):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(gzip.compress(content, **gz))
    return folder


@pytest.fixture
def places(monkeypatch, tmp_path):
    """No named folder, and an empty cache."""
    monkeypatch.delenv("BIRTHMARK_DATA", raising=False)
    monkeypatch.setenv("BIRTHMARK_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def mnist(monkeypatch, places):
    return shrink(monkeypatch, "mnist", 1)


@pytest.fixture
def fashion(monkeypatch, places):
    return shrink(monkeypatch, "fashion_mnist", 2)


def said(caught):
    """The message, which must be of one line."""
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("subfolder", ["", "mnist"])
def test_a_named_folder_may_hold_the_files_freely_or_in_a_subfolder(
    places, monkeypatch, mnist, subfolder
) -> None:
    write(places / "data" / subfolder, mnist)
    monkeypatch.setenv("BIRTHMARK_DATA", str(places / "data"))
    dataset = load_dataset("mnist")
    assert dataset.x_train.tobytes() == mnist[NAMES[0]][16:]
    assert bytes(dataset.y_test.tolist()) == mnist[NAMES[3]][8:]
    assert not (places / "cache").exists()


def test_named_folders_come_in_order_and_before_the_cache(
    places, monkeypatch, mnist
) -> None:
    for folder in ("first", "second", "cache/mnist"):
        write(places / folder, mnist)
    named = os.pathsep.join(str(places / f) for f in ("empty", "first", "second"))
    monkeypatch.setenv("BIRTHMARK_DATA", named)
    assert {f.parent for f in verify_dataset("mnist").files} == {places / "first"}
    (places / "first" / NAMES[0]).unlink()
    assert verify_dataset("mnist").files[0] == places / "second" / NAMES[0]
    monkeypatch.delenv("BIRTHMARK_DATA")
    files = verify_dataset("mnist").files
    assert {f.parent for f in files} == {places / "cache" / "mnist"}


def test_the_folder_of_a_user_whom_nobody_knows_holds_nothing(
    places, monkeypatch
) -> None:
    monkeypatch.setenv("BIRTHMARK_DATA", "~no-such-user/data")
    monkeypatch.setenv("BIRTHMARK_CACHE", "~no-such-user/cache")
    assert not list_datasets()[0].files


def test_two_sets_with_the_same_file_names_are_told_apart(
    places, monkeypatch, mnist, fashion
) -> None:
    folders = [write(places / "a", mnist), write(places / "b", fashion)]
    for order in (folders, folders[::-1]):
        monkeypatch.setenv("BIRTHMARK_DATA", os.pathsep.join(map(str, order)))
        for name, contents in (("mnist", mnist), ("fashion_mnist", fashion)):
            x = load_dataset(name).x_train
            assert x.tobytes() == contents[NAMES[0]][16:]


def test_a_missing_set_is_named_with_its_source_and_the_import_command(
    places, monkeypatch
) -> None:
    monkeypatch.setenv("BIRTHMARK_DATA", str(places))
    with pytest.raises(DataError) as caught:
        verify_dataset("hasyv2")
    message = said(caught)
    for part in (
        "HASYv2.tar.bz2",
        str(places),
        "https://zenodo.org/records/259444",
        "birthmark data import hasyv2 PATH",
    ):
        assert part in message


def test_list_tells_what_is_here(places, monkeypatch, mnist) -> None:
    write(places / "data", {name: mnist[name] for name in NAMES[:3]})
    monkeypatch.setenv("BIRTHMARK_DATA", str(places / "data"))
    here = {one.name: one for one in list_datasets()}
    names = ["digits", "mnist", "fashion_mnist", "hasyv2", "cifar10", "cifar10_12k"]
    assert list(here) == names
    assert here["digits"].is_here
    assert here["mnist"].missing == (NAMES[3],)
    assert not here["mnist"].is_here
    assert here["hasyv2"].missing == ("HASYv2.tar.bz2",)
    assert here["hasyv2"].num_classes == describe_dataset("hasyv2").num_classes


@pytest.mark.parametrize("layout", ["", "mnist"])
def test_a_folder_packed_anew_is_imported(places, mnist, layout) -> None:
    write(places / "down" / layout, mnist, compresslevel=1, mtime=12345)
    assert import_dataset("mnist", places / "down").is_here
    assert load_dataset("mnist").x_test.tobytes() == mnist[NAMES[2]][16:]
    checked = verify_dataset("mnist")
    assert (checked.num_train, checked.num_test) == (30, 10)
    assert checked.checksum == load_dataset("mnist").checksum


def test_single_files_are_known_by_content_whatever_their_names(places, mnist) -> None:
    for i, name in enumerate(NAMES):
        path = places / f"download({i})"
        path.write_bytes(gzip.compress(mnist[name]))
        one = import_dataset("mnist", path)
        assert one.missing == tuple(NAMES[i + 1 :])
    assert load_dataset("mnist").x_train.tobytes() == mnist[NAMES[0]][16:]


def test_a_file_of_another_set_is_not_imported(places, mnist, fashion) -> None:
    folder = write(places / "down", fashion)
    with pytest.raises(DataError) as caught:
        import_dataset("mnist", folder)
    (name,) = (one for one in NAMES if one in said(caught))
    wanted = hashlib.md5(mnist[name]).hexdigest()
    got = hashlib.md5(fashion[name]).hexdigest()
    assert f"is {got}, expected {wanted}" in said(caught)
    assert not (places / "cache").exists()


@pytest.mark.parametrize(
    ("path", "message"), [("nowhere", "no such file"), (".", "none of the files")]
)
def test_a_path_without_files_is_refused(places, path, message) -> None:
    with pytest.raises(DataError, match=message) as caught:
        import_dataset("mnist", places / path)
    assert str(places) in said(caught)


def test_embedded_and_unknown_sets_are_not_imported(places) -> None:
    with pytest.raises(DataError, match="digits is embedded"):
        import_dataset("digits", places)
    with pytest.raises(SpecError, match="unknown data set 'mnst'"):
        import_dataset("mnst", places)
    assert verify_dataset("digits").num_test == 360


def _truncated(content):
    return gzip.compress(content)[:-20]


def _flipped(content):
    packed = bytearray(gzip.compress(content, compresslevel=0))
    packed[len(packed) // 2] ^= 1
    return bytes(packed)


def _changed(content):
    return gzip.compress(content[:-1] + bytes([content[-1] ^ 1]))


def _shortened(content):
    return gzip.compress(content[:-3])


def _reshaped(content):
    pixels = np.frombuffer(content, np.uint8, offset=16).reshape(30, 14, 56)
    return gzip.compress(idx_bytes(pixels))


DAMAGES = [
    (NAMES[0], _truncated, "damaged file"),
    (NAMES[0], _flipped, "damaged file"),
    (NAMES[0], lambda content: b"<html>not found</html>", "not an IDX file"),
    (NAMES[0], lambda content: gzip.compress(b"<html>"), "not an IDX file of uint8"),
    (NAMES[0], lambda content: b"\0\0\x08", "not an IDX file of uint8"),
    (NAMES[0], lambda content: gzip.compress(b""), "starts with nothing"),
    (NAMES[0], _shortened, r"bytes for the shape \(30, 28, 28\), expected 23536"),
    (NAMES[0], _reshaped, r"shape \(30, 14, 56\), expected \(30, 28, 28\)"),
    (NAMES[0], _changed, "wrong checksum: expected md5 .*, got "),
    (
        NAMES[1],
        lambda content: gzip.compress(content[:-1] + b"\x0a"),
        "labels from 0 to 10 lie outside the classes 0 to 9",
    ),
]


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGES)
def test_damaged_files_are_refused_in_one_line(
    places, monkeypatch, mnist, name, damage, message
) -> None:
    folder = write(places / "data", mnist)
    (folder / name).write_bytes(damage(mnist[name]))
    monkeypatch.setenv("BIRTHMARK_DATA", str(folder))
    for read in (load_dataset, verify_dataset):
        with pytest.raises(DataError, match=message) as caught:
            read("mnist")
        assert str(folder / name) in said(caught)


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGES)
def test_damaged_files_are_not_imported_and_harm_nothing(
    places, mnist, name, damage, message
) -> None:
    import_dataset("mnist", write(places / "good", mnist))
    before = load_dataset("mnist").checksum
    bad = places / name
    bad.write_bytes(damage(mnist[name]))
    with pytest.raises(DataError) as caught:
        import_dataset("mnist", bad)
    assert str(bad) in said(caught)
    assert load_dataset("mnist").checksum == before
    assert sorted(f.name for f in (places / "cache/mnist").iterdir()) == sorted(NAMES)


def test_a_cache_that_cannot_be_written_is_named(places, monkeypatch, mnist) -> None:
    (places / "file").write_text("not a folder")
    monkeypatch.setenv("BIRTHMARK_CACHE", str(places / "file"))
    with pytest.raises(DataError, match="cannot be written.*BIRTHMARK_CACHE") as caught:
        import_dataset("mnist", write(places / "good", mnist))
    said(caught)


@pytest.mark.parametrize(
    ("trouble", "seen"),
    [(OSError(28, "No space left"), DataError), (KeyboardInterrupt, KeyboardInterrupt)],
)
def test_a_write_that_ends_half_way_leaves_the_old_file_alone(
    tmp_path, trouble, seen
) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    with pytest.raises(seen), replacing(path) as temporary:
        temporary.write_bytes(b"ha")
        raise trouble
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_real_files_packed_anew_are_imported(real_data, places) -> None:
    folder = real_data / "fashion-mnist"
    contents = {n: gzip.decompress((folder / n).read_bytes()) for n in NAMES}
    source = write(places / "anew", contents, compresslevel=1, mtime=1)
    assert import_dataset("fashion_mnist", source).is_here
    x = load_dataset("fashion_mnist").x_train
    assert x.tobytes() == contents[NAMES[0]][16:]


def _as_npz(folder, contents):
    arrays = [np.frombuffer(c[8 if c[3] == 1 else 16 :], np.uint8) for c in contents]
    arrays[0], arrays[2] = arrays[0].reshape(30, 28, 28), arrays[2].reshape(10, 28, 28)
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez_compressed(folder / "mnist.npz", **dict(zip(names, arrays, strict=True)))


def _unpacked(folder, contents, dots=False):
    for name, content in zip(NAMES, contents, strict=True):
        bare = name.removesuffix(".gz")
        (folder / (bare.replace("-idx", ".idx") if dots else bare)).write_bytes(content)


def _as_tar(folder, contents):
    with tarfile.open(folder / "mnist.tar.xz", "w:xz") as archive:
        for name, content in zip(NAMES, contents, strict=True):
            for path, data in (
                (f"MNIST/raw/{name[:-3]}", content),
                (f"._{name}", b"?"),
            ):
                member = tarfile.TarInfo(path)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def _nested(folder, contents):
    deep = folder / "MNIST" / "raw"
    deep.mkdir(parents=True)
    (folder / "._train-images-idx3-ubyte.gz").write_bytes(b"what macOS leaves")
    (folder / "README").write_text("not a data set")
    for name, content in zip(NAMES, contents, strict=True):
        (deep / f"{name[:-3]}.bz2").write_bytes(bz2.compress(content))


def _packed_twice(folder, contents):
    """As sites of data sets give it: gz in a zip, and a broken download beside it."""
    with zipfile.ZipFile(folder / "archive (1).zip", "w") as archive:
        archive.writestr("__MACOSX/data/._train.npy", b"what macOS leaves")
        for name, content in zip(NAMES, contents, strict=True):
            archive.writestr(f"data/{name.upper()}", gzip.compress(content))
    (folder / NAMES[0]).write_bytes(gzip.compress(contents[0])[:-30])


def _as_rows(folder, contents):
    """Arrays of NumPy of their own, in rows and columns, as other libraries have it."""
    deep = folder / "elsewhere"
    deep.mkdir()
    for name, content in zip(NAMES, contents, strict=True):
        values = np.frombuffer(content, np.uint8, offset=8 if content[3] == 1 else 16)
        values = values.reshape(-1, 784 if "images" in name else 1)
        np.save(deep / f"{name[:9]}.npy", values.astype(np.float64))
    (folder / "linked").symlink_to(folder)  # back to where it lies


LAYS = [_as_npz, _unpacked, _as_tar, _nested, _packed_twice, _as_rows]


@pytest.mark.parametrize("lay", LAYS)
def test_good_data_are_taken_in_any_wrapping(places, mnist, lay) -> None:
    folder = places / "down"
    folder.mkdir()
    lay(folder, list(mnist.values()))
    assert import_dataset("mnist", folder).is_here
    dataset = load_dataset("mnist")
    assert dataset.x_train.tobytes() == mnist[NAMES[0]][16:]
    assert bytes(dataset.y_test.tolist()) == mnist[NAMES[3]][8:]


@pytest.mark.parametrize("dots", [False, True])
def test_a_named_folder_may_hold_the_files_unpacked(
    places, monkeypatch, mnist, dots
) -> None:
    _unpacked(places, list(mnist.values()), dots)
    monkeypatch.setenv("BIRTHMARK_DATA", str(places))
    assert load_dataset("mnist").x_test.tobytes() == mnist[NAMES[2]][16:]


def _bomb_in_zip(path, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train-images-idx3-ubyte", content)


def _bomb_in_tar(path, content):
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        member = tarfile.TarInfo("train-images-idx3-ubyte")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    "pack",
    [
        lambda path, content: path.write_bytes(gzip.compress(content, 1)),
        _bomb_in_zip,
        _bomb_in_tar,
    ],
)
def test_a_small_file_that_stands_for_a_large_one_is_not_unpacked(places, mnist, pack):
    path = places / "bomb"
    pack(path, bytes(60_000_000))
    tracemalloc.start()
    with pytest.raises(DataError, match="nothing in it has the size") as caught:
        import_dataset("mnist", path)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    said(caught)


@pytest.mark.parametrize(
    "arrays",
    [
        {"ink_bits": np.zeros((1, 128), np.uint8), "y": np.uint16(3), "fold": 1},
        {"ink_bits": np.array("a"), "y": np.array(["b"]), "fold": np.array(1.5)},
        {"x_train": np.array("digits"), "y_train": np.float64(1)},
    ],
)
def test_arrays_of_absurd_shapes_are_refused_in_one_line(places, arrays) -> None:
    np.savez(places / "odd.npz", **arrays)
    for name in ("hasyv2", "mnist", "cifar10_12k"):
        with pytest.raises(DataError) as caught:
            import_dataset(name, places / "odd.npz")
        said(caught)


@pytest.mark.parametrize("killed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_processes_that_fetch_at_once_all_find_the_file(places, killed) -> None:
    """One of five fetches; if it is killed, one of the others goes on."""
    content = gzip.compress(b"pixels" * 800_000, 0)
    asked = []

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802 - the name that the base class calls
            asked.append(int(self.headers["User-Agent"]))
            begin = int(self.headers.get("Range", "bytes=0-")[6:-1])
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            for start in range(begin, len(content), 500_000):
                with contextlib.suppress(OSError):  # who asked may be dead
                    self.wfile.write(content[start : start + 500_000])
                time.sleep(0.05)
                if killed and len(asked) == 1 and start > len(content) / 2:
                    os.kill(asked[0], signal.SIGKILL)
                    return

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    script = f"""
import hashlib, os
from dataclasses import replace
from birthmark.data.catalogue import CATALOGUE
from birthmark.data import download, lookup
from birthmark.data.entries import Published
download.HEADERS["User-Agent"] = str(os.getpid())
md5 = hashlib.md5(b"pixels" * 800_000).hexdigest()
url = "http://127.0.0.1:{server.server_port}/images.gz"
file = Published("images.gz", "images.gz", (url,), md5)
entry = replace(CATALOGUE["mnist"], files=(file,))
print(lookup.obtain(entry)["images.gz"].name)
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        for _ in range(5)
    ]
    said = [process.communicate(timeout=120)[0] for process in processes]
    server.shutdown()
    server.server_close()
    assert said.count(b"images.gz\n") == 5 - killed
    assert len(asked) == 1 + killed
    assert [path.name for path in (places / "cache" / "mnist").iterdir()] == [
        "images.gz"
    ]


def _npy(header, body=b"\0" * 10):
    padded = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(padded)) + padded + body


def _zip_of_another_size(path, name, stated=1000, real=60_000_000):
    """An entry that says it is small, and unpacks to much more."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(real))
    sizes = struct.pack("<I", real), struct.pack("<I", stated)
    path.write_bytes(path.read_bytes().replace(*sizes))


def _tar_with_a_long_name(path, kind):
    """A header of 60 MB for a name."""
    member = tarfile.TarInfo("name")
    member.type, member.size = kind, 60_000_000
    path.write_bytes(gzip.compress(member.tobuf() + bytes(60_000_000), 1))


@pytest.mark.parametrize(
    "lie",
    [
        lambda path: _zip_of_another_size(path, "train-images-idx3-ubyte"),
        lambda path: _zip_of_another_size(path, "ink_bits.npy"),
        lambda path: _tar_with_a_long_name(path, tarfile.GNUTYPE_LONGNAME),
        lambda path: _tar_with_a_long_name(path, tarfile.XHDTYPE),
    ],
)
def test_an_archive_that_lies_about_sizes_is_not_unpacked(places, lie) -> None:
    lie(places / "lie.npz")
    tracemalloc.start()
    for name in ("mnist", "hasyv2"):
        with pytest.raises(DataError, match="damaged file|no ink_bits") as caught:
            import_dataset(name, places / "lie.npz")
        said(caught)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    "content",
    [
        _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000,)}"),
        _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-2, -5)}"),
        _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (9,)}"),
        _npy("{'descr': '<u1', ("),
        b"",
    ],
)
def test_an_array_that_lies_about_its_shape_is_not_made(places, content) -> None:
    with zipfile.ZipFile(places / "odd.npz", "w") as archive:
        for name in ("ink_bits", "y", "fold", *("x_train", "y_train", "x_test")):
            archive.writestr(f"{name}.npy", content)
    for name in ("mnist", "hasyv2", "cifar10_12k"):
        with pytest.raises(DataError, match="damaged file") as caught:
            import_dataset(name, places / "odd.npz")
        said(caught)


def test_what_has_no_end_is_not_read(places) -> None:
    os.mkfifo(places / "pipe")
    for path in ("/dev/zero", places / "pipe"):
        for name in ("mnist", "hasyv2", "cifar10"):
            with pytest.raises(DataError, match="not a regular file"):
                import_dataset(name, path)
        with pytest.raises(WeightsError, match="not a regular file"):
            open_weights(path)
    with pytest.raises(SpecError, match="more than 10,000,000 bytes"):
        RunSpec.from_toml("/dev/zero")


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        (PermissionError(13, "Permission denied"), "cannot be read: Permission"),
        (MemoryError(), "larger than the memory"),
        (OSError("cut"), "damaged file"),
        (KeyError("x"), "damaged file"),
    ],
)
def test_only_what_lies_in_a_file_is_called_damage(trouble, expected) -> None:
    with pytest.raises(DataError, match=expected), damage_named("a.npz", DataError):
        raise trouble
