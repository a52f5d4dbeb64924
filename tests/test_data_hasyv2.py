"""HASYv2 from its archive and from the packed file."""

import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from birthmark.data import (
    fetch_dataset,
    hasyv2,
    import_dataset,
    load_dataset,
    verify_dataset,
)
from birthmark.data.hasyv2 import read_archive
from birthmark.data.hasyv2_packed import PackedImages
from birthmark.errors import DataError
from birthmark.spec import DataSpec

PACKED = "hasyv2_packed.npz"


def write_archive(path, images, *, prefix="", symbol_ids=None, latex=None, mode="L"):
    """An archive in the author's format, its members in a scrambled order.

    Images: numbers, pixels [N, 32, 32] (0 or 255), rows of symbols.csv, folds.
    """
    numbers, pixels, y, fold = images
    symbol_ids = np.arange(369) + 31 if symbol_ids is None else symbol_ids
    latex = [f"\\s{i}" for i in range(369)] if latex is None else latex
    head = "path,symbol_id,latex,user_id"
    rows = [
        f"hasy-data/v2-{n:05d}.png,{symbol_ids[k]},{latex[k]},7"
        for n, k in zip(numbers, y, strict=True)
    ]
    tables = {
        "hasy-data-labels.csv": [head, *rows],
        "symbols.csv": ["symbol_id,latex,training_samples,test_samples"]
        + [f"{s},{t},3,1" for s, t in zip(symbol_ids, latex, strict=True)],
        "verification-task/train.csv": ["path,symbol_id", "v2-00000.png,99999,a,1"],
    }
    for k in range(1, 11):
        for part, chosen in (("test", fold == k), ("train", fold != k)):
            tables[f"classification-task/fold-{k}/{part}.csv"] = [head] + [
                f"../../{row}" for row, c in zip(rows, chosen, strict=True) if c
            ]
    members = {name: "\n".join(t).encode() + b"\n" for name, t in tables.items()}
    for n, image in zip(numbers, pixels, strict=True):
        png = io.BytesIO()
        Image.fromarray(image).convert(mode).save(png, "png", compress_level=1)
        members[f"hasy-data/v2-{n:05d}.png"] = png.getvalue()
    names = np.random.default_rng(0).permutation(sorted(members))
    with tarfile.open(path, "w:bz2", compresslevel=1) as archive:
        folder = tarfile.TarInfo(prefix + "hasy-data")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name in names:
            info = tarfile.TarInfo(prefix + name)
            info.size = len(members[name])
            archive.addfile(info, io.BytesIO(members[name]))
    return path


@pytest.fixture
def images():
    """Some images, with numbers whose order as text is another."""
    draw = np.random.default_rng(3)
    pixels = draw.integers(0, 2, (40, 32, 32)).astype(np.uint8) * np.uint8(255)
    numbers = np.r_[np.arange(20), 99_990 + np.arange(20)]
    y = draw.integers(0, 369, 40)
    y[:2] = 0, 368
    return numbers, pixels, y, np.arange(40) % 10 + 1


@pytest.fixture
def places(monkeypatch, tmp_path):
    monkeypatch.delenv("BIRTHMARK_DATA", raising=False)
    monkeypatch.setenv("BIRTHMARK_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def small(monkeypatch, images):
    """Let the room know these few images in place of the whole set."""
    packed = as_packed(images)
    monkeypatch.setattr(hasyv2, "CONTENT_SHA256", packed.checksum)
    return packed


def as_packed(images):
    _, pixels, y, fold = images
    ink_bits = np.packbits(pixels.reshape(len(pixels), -1) == 0, axis=1)
    return PackedImages(ink_bits, y.astype(np.uint16), fold.astype(np.uint8))


def write_npz(path, packed, **changed):
    arrays = {"ink_bits": packed.ink_bits, "y": packed.y, "fold": packed.fold}
    np.savez_compressed(path, **(arrays | changed))
    return path


def said(caught):
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("prefix", ["", "./", "HASYv2/"])
@pytest.mark.parametrize("mode", ["L", "RGB", "1"])
def test_archive_gives_images_by_number_and_labels_by_row(
    tmp_path, images, prefix, mode
) -> None:
    _, pixels, y, fold = images
    path = write_archive(tmp_path / "a.tar.bz2", images, prefix=prefix, mode=mode)
    packed = read_archive(path)
    x = (1 - np.unpackbits(packed.ink_bits, axis=1)) * 255
    np.testing.assert_array_equal(x.reshape(-1, 32, 32), pixels)
    np.testing.assert_array_equal(packed.y, y)
    np.testing.assert_array_equal(packed.fold, fold)


def test_quotes_and_commas_in_latex_do_not_confuse_the_tables(tmp_path, images) -> None:
    latex = ['"', "a,b", "'", *(f"\\s{i}," for i in range(366))]
    path = write_archive(tmp_path / "a.tar.bz2", images, latex=latex)
    np.testing.assert_array_equal(read_archive(path).y, images[2])


@pytest.mark.parametrize("fold", [1, 4])
def test_imported_archive_loads_like_the_packed_file(
    places, images, small, fold
) -> None:
    _, pixels, y, folds = images
    import_dataset("hasyv2", write_archive(places / "renamed", images))
    from_archive = load_dataset(DataSpec(name="hasyv2", fold=fold))
    np.testing.assert_array_equal(
        from_archive.x_test.reshape(-1, 32, 32), pixels[folds == fold]
    )
    np.testing.assert_array_equal(from_archive.y_train, y[folds != fold])
    (places / "cache" / "hasyv2" / PACKED).unlink()
    import_dataset("hasyv2", write_npz(places / "x.npz", small))
    from_packed = load_dataset(DataSpec(name="hasyv2", fold=fold))
    assert from_packed.checksum == from_archive.checksum


def test_an_archive_in_a_named_folder_is_unpacked_once(
    places, monkeypatch, images, small
) -> None:
    path = write_archive(places / "HASYv2.tar.bz2", images)
    monkeypatch.setenv("BIRTHMARK_DATA", str(places))
    one = fetch_dataset("hasyv2")
    assert one.files == (places / "cache" / "hasyv2" / PACKED,)
    path.unlink()
    assert load_dataset("hasyv2").x_test.shape == (4, 1024)


def test_a_folder_with_the_packed_file_or_the_archive_is_imported(
    places, images, small
) -> None:
    (places / "down" / "hasyv2").mkdir(parents=True)
    write_archive(places / "down" / "hasyv2" / "HASYv2.tar.bz2", images)
    assert import_dataset("hasyv2", places / "down").is_here
    write_npz(places / PACKED, small)
    assert import_dataset("hasyv2", places).is_here
    assert verify_dataset("hasyv2").num_test == 4


def test_the_folder_that_the_archive_unpacks_to_is_imported(
    places, images, small
) -> None:
    with tarfile.open(write_archive(places / "x.tar.bz2", images)) as archive:
        archive.extractall(places / "down" / "HASYv2", filter="data")
    clutter = places / "down" / "__MACOSX" / "HASYv2"  # read after the rest
    clutter.mkdir(parents=True)
    (clutter / "._hasy-data-labels.csv").write_bytes(b"what macOS leaves")
    assert import_dataset("hasyv2", places / "down").is_here
    found = load_dataset("hasyv2")
    np.testing.assert_array_equal(
        np.sort(found.y_test), np.sort(images[2][images[3] == 1])
    )


def test_a_zip_of_windows_is_imported_with_what_macos_leaves(
    places, images, small
) -> None:
    with (
        tarfile.open(write_archive(places / "x.tar.bz2", images)) as archive,
        zipfile.ZipFile(places / "x.zip", "w") as packed,
    ):
        for member in filter(tarfile.TarInfo.isfile, archive):
            content = archive.extractfile(member).read()
            folder, _, name = member.name.rpartition("/")
            packed.writestr(f"HASYv2/{member.name}".replace("/", "\\"), content)
            packed.writestr(f"__MACOSX/{folder}/._{name}", b"what macOS leaves")
    assert import_dataset("hasyv2", places / "x.zip").is_here
    assert verify_dataset("hasyv2").num_test == 4


def test_a_set_that_is_not_the_whole_hasyv2_is_refused(places, images) -> None:
    for path in (
        write_archive(places / "HASYv2.tar.bz2", images),
        write_npz(places / PACKED, as_packed(images)),
    ):
        with pytest.raises(DataError, match=r"wrong checksum: expected .*, got") as e:
            import_dataset("hasyv2", path)
        assert str(path) in said(e)
    assert not (places / "cache").exists()


def test_every_image_label_and_fold_is_under_the_checksum(images) -> None:
    packed = as_packed(images)
    checksums = {packed.checksum}
    for name in ("ink_bits", "y", "fold"):
        arrays = {n: getattr(packed, n).copy() for n in ("ink_bits", "y", "fold")}
        arrays[name].reshape(-1)[-1] ^= 1
        checksums.add(PackedImages(**arrays).checksum)
    assert len(checksums) == 4


def _cut(path, keep):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.9])
def test_a_truncated_archive_is_refused(places, images, small, keep) -> None:
    path = write_archive(places / "HASYv2.tar.bz2", images)
    _cut(path, keep)
    with pytest.raises(DataError) as caught:
        import_dataset("hasyv2", path)
    assert str(path) in said(caught)
    assert not (places / "cache").exists()


def test_a_corrupted_archive_is_refused(places, images, small) -> None:
    path = write_archive(places / "HASYv2.tar.bz2", images)
    _flip(path)
    with pytest.raises(DataError, match="damaged") as caught:
        import_dataset("hasyv2", path)
    said(caught)


def test_an_archive_without_a_table_or_with_other_images_is_refused(
    places, images
) -> None:
    path = write_archive(places / "HASYv2.tar.bz2", images)
    with tarfile.open(path) as archive:
        members = {m.name: archive.extractfile(m).read() for m in archive if m.size}
    small = io.BytesIO()
    Image.new("L", (16, 16)).save(small, "png")
    image = "hasy-data/v2-00000.png"
    broken = {image: members[image][:60]}
    for changed, message in (
        ({"symbols.csv": b""}, "nothing in its tables about image or symbol 31:"),
        ({"hasy-data-labels.csv": b""}, "nothing in its tables about image or sy"),
        ({"classification-task/fold-3/test.csv": b""}, "nothing in its tables .* 2:"),
        ({image: small.getvalue()}, "v2-00000.png is not 32x32"),
        (broken, "v2-00000.png is a damaged file"),
        (dict.fromkeys(members, b""), "damaged|no hasy-data"),
    ):
        with tarfile.open(path, "w:bz2") as archive:
            for name, content in (members | changed).items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        with pytest.raises(DataError, match=message) as caught:
            read_archive(path)
        assert str(path) in said(caught)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_a_truncated_npz_is_refused(places, monkeypatch, small, keep) -> None:
    path = write_npz(places / PACKED, small)
    _cut(path, keep)
    monkeypatch.setenv("BIRTHMARK_DATA", str(places))
    for act in (load_dataset, verify_dataset):
        with pytest.raises(DataError, match="cut short") as caught:
            act("hasyv2")
        assert str(path) in said(caught)


def test_damaged_and_foreign_npz_files_are_refused(places, monkeypatch, small) -> None:
    path = places / PACKED
    monkeypatch.setenv("BIRTHMARK_DATA", str(places))
    outside = small.y.copy()
    outside[5] = 369

    def pickled():
        with zipfile.ZipFile(path, "w") as file:
            for name in ("ink_bits", "y", "fold"):
                content = io.BytesIO()
                np.save(content, np.array([{}], dtype=object), allow_pickle=True)
                file.writestr(f"{name}.npy", content.getvalue())

    for damage, message in (
        (lambda: (write_npz(path, small), _flip(path)), "damaged file"),
        (lambda: np.savez(path, x=small.y), "no ink_bits in it"),
        (lambda: write_npz(path, small, y=small.y[:-1]), r"\(40, 128\), expected"),
        (lambda: write_npz(path, small, y=small.y.astype(int)), "y is int64"),
        (lambda: write_npz(path, small, y=outside), "labels from 0 to 369 lie outside"),
        (lambda: write_npz(path, small, fold=small.fold[::-1]), "wrong checksum"),
        (pickled, "damaged file"),
    ):
        damage()
        with pytest.raises(DataError, match=message) as caught:
            load_dataset("hasyv2")
        assert str(path) in said(caught)


def test_the_real_packed_file_is_imported(real_data, places) -> None:
    import_dataset("hasyv2", real_data / PACKED)
    checked = verify_dataset("hasyv2")
    assert checked.files == (places / "cache" / "hasyv2" / PACKED,)
    assert (checked.num_train, checked.num_test) == (151_241, 16_992)


def test_real_images_survive_the_way_through_an_archive(real_data, tmp_path) -> None:
    file = np.load(real_data / PACKED)
    numbers = np.sort(np.random.default_rng(5).choice(168_233, 600, replace=False))
    real = {name: file[name][numbers] for name in ("ink_bits", "y", "fold")}
    pixels = (1 - np.unpackbits(real["ink_bits"], axis=1)) * np.uint8(255)
    path = write_archive(
        tmp_path / "HASYv2.tar.bz2",
        (numbers, pixels.reshape(-1, 32, 32), real["y"], real["fold"]),
        symbol_ids=file["symbol_id"],
        latex=file["latex"],
    )
    packed = read_archive(path)
    for name, array in real.items():
        np.testing.assert_array_equal(getattr(packed, name), array)


@pytest.mark.slow
def test_the_whole_archive_equals_the_packed_file(real_data, monkeypatch, tmp_path):
    expected = load_dataset("hasyv2").checksum
    file = np.load(real_data / PACKED)
    pixels = (1 - np.unpackbits(file["ink_bits"], axis=1)) * np.uint8(255)
    path = write_archive(
        tmp_path / "HASYv2.tar.bz2",
        (np.arange(168_233), pixels.reshape(-1, 32, 32), file["y"], file["fold"]),
        symbol_ids=file["symbol_id"],
        latex=file["latex"],
    )
    monkeypatch.delenv("BIRTHMARK_DATA")
    monkeypatch.setenv("BIRTHMARK_CACHE", str(tmp_path / "cache"))
    import_dataset("hasyv2", path)
    assert load_dataset("hasyv2").checksum == expected
