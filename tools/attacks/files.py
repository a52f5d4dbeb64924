"""Files that others wrote: pictures, checkpoints, data sets, finished results."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from safetensors.torch import save_file

import birthmark as bm
from attacks.draws import Try, harm
from birthmark.data import hasyv2, import_dataset, load_dataset
from birthmark.spec import MarkSpec
from birthmark.store import load_results, save_results
from test_data_hasyv2 import as_packed, write_archive, write_npz


def pictures(draw: random.Random, folder: Path) -> Iterator[Try]:
    """A picture of a mark with flipped bits, or cut short."""
    from birthmark.marks import draw_mark

    path = folder / "mark.png"
    Image.effect_noise((32, 32), 64).save(path, compress_level=0)
    whole = path.read_bytes()

    def attempt() -> bool:
        path.write_bytes(harm(whole, draw))
        mark = draw_mark(MarkSpec(image=str(path)), 16, 16)
        return mark.mask_IO.shape == (16, 16)

    while True:
        yield attempt


def checkpoints(draw: random.Random, folder: Path) -> Iterator[Try]:
    """One of two checkpoints in six formats with flipped bits, or cut short."""
    import h5py

    torch.manual_seed(0)
    state = torch.nn.Sequential(torch.nn.Linear(9, 7), torch.nn.Linear(7, 3))
    tensors = {name: x.detach() for name, x in state.named_parameters()}
    arrays = {name: x.numpy() for name, x in tensors.items()}
    for kind in ("whole", "harmed"):
        (folder / kind).mkdir()
    save_file(tensors, folder / "whole/a.safetensors")
    torch.save(tensors, folder / "whole/a.pt")
    np.savez(folder / "whole/a.npz", **arrays)
    np.savez_compressed(folder / "whole/b.npz", **arrays)
    np.save(folder / "whole/a.npy", arrays["0.weight"])
    for name, options in (("a.h5", {}), ("b.h5", {"chunks": True, "compression": 1})):
        with h5py.File(folder / "whole" / name, "w") as file:
            for key, array in arrays.items():
                chosen = options if array.ndim > 1 else {}
                file.create_dataset(f"layers/{key}", data=array, **chosen)
    wholes = {path.name: path.read_bytes() for path in (folder / "whole").iterdir()}

    def attempt() -> bool:
        name = draw.choice(sorted(wholes))
        (folder / "harmed" / name).write_bytes(harm(wholes[name], draw))
        # there is no checksum in these formats: another number is what the file says
        return bool(bm.diff(folder / "whole" / name, folder / "harmed" / name).text())

    while True:
        yield attempt


def data_sets(draw: random.Random, folder: Path) -> Iterator[Try]:
    """A data set in any wrapping, damaged in it or before it was wrapped, imported."""
    from test_data_files import LAYS, NAMES, shrink

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIRTHMARK_CACHE", str(folder / "cache"))
        patch.delenv("BIRTHMARK_DATA", raising=False)
        contents = shrink(patch, "mnist", 1)
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 2, (20, 32, 32)).astype(np.uint8) * np.uint8(255)
        images = np.arange(20), pixels, rng.integers(0, 369, 20), np.arange(20) % 10 + 1
        patch.setattr(hasyv2, "CONTENT_SHA256", as_packed(images).checksum)
        archive = write_archive(folder / "HASYv2.tar.bz2", images).read_bytes()
        packed = write_npz(folder / "hasy.npz", as_packed(images)).read_bytes()
        down = folder / "down"

        def mnist() -> bool:
            lay, given = draw.choice(LAYS), list(contents.values())
            has_files = lay not in (LAYS[0], LAYS[-1])  # arrays are laid out whole
            if has_files and draw.random() < 0.3:
                place = draw.randrange(len(given))
                given[place] = harm(given[place], draw)
            lay(down, given)
            if draw.random() < 0.7:
                path = draw.choice(sorted(p for p in down.rglob("*") if p.is_file()))
                path.write_bytes(harm(path.read_bytes(), draw))
            if not import_dataset("mnist", down).is_here:
                return True  # it says which files are missing
            found = load_dataset("mnist")
            return (
                found.x_train.tobytes() == contents[NAMES[0]][16:]
                and bytes(found.y_test.tolist()) == contents[NAMES[3]][8:]
            )

        def hasy() -> bool:
            name, whole = draw.choice([("x.tar.bz2", archive), ("x.npz", packed)])
            (down / name).write_bytes(harm(whole, draw))
            import_dataset("hasyv2", down / name)
            found = load_dataset("hasyv2").x_test
            return found.tobytes() == pixels[images[3] == 1].tobytes()

        def attempt() -> bool:
            for path in (down, folder / "cache"):
                shutil.rmtree(path, ignore_errors=True)
            down.mkdir()
            return draw.choice([mnist, hasy])()

        while True:
            yield attempt


def results(draw: random.Random, folder: Path) -> Iterator[Try]:
    """Finished results in netCDF, or their manifest, with flipped bits or cut short."""
    found = xr.Dataset(
        {"loss": (("width", "seed"), np.random.default_rng(0).normal(size=(4, 3)))},
        coords={"width": [1, 2, 3, 4], "name": ("seed", ["a", "b", "c"])},
    )
    save_results(folder, found, {"commit": "ab12", "wall_time_s": 1.5})
    expected, manifest = load_results(folder)
    wholes = {path: path.read_bytes() for path in folder.iterdir()}

    def attempt() -> bool:
        path = draw.choice(sorted(wholes))
        path.write_bytes(harm(wholes[path], draw))
        try:
            read, facts = load_results(folder)
            return read.identical(expected) and facts == manifest
        finally:
            path.write_bytes(wholes[path])

    while True:
        yield attempt
