"""The explorer's file: complete in itself, with the library's letter and digits."""

import base64
import json
import re
import webbrowser
from importlib.resources import files

import numpy as np
import pytest

from birthmark.data import load_dataset
from birthmark.explorer import write_explorer
from birthmark.marks import draw_mark
from birthmark.spec import MarkSpec

PAGE = files("birthmark.explorer").joinpath("page")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_explorer(tmp_path_factory.mktemp("page") / "explorer.html").read_text()


def test_the_page_needs_nothing_else(page):
    assert len(page) < 300_000
    assert not re.search(r"https?:|\bsrc=|\bimport\b.*from|\{\{ ", page)
    assert "default-src 'none'" in page
    assert page.count("</script>") == 2  # so no source closes its own


def test_its_digits_are_the_library_s(page):
    embedded = json.loads(re.search(r"const DIGITS = (.*);\n", page)[1])
    digits = load_dataset("digits")
    for half in ("train", "test"):
        for name in ("x", "y"):
            values = np.frombuffer(base64.b64decode(embedded[half][name]), np.uint8)
            wanted = getattr(digits, f"{name}_{half}")
            np.testing.assert_array_equal(values.reshape(wanted.shape), wanted)


def test_its_letters_are_the_library_s_at_each_width_of_the_slider():
    letters = json.loads(PAGE.joinpath("letters.json").read_text())
    source = PAGE.joinpath("explorer.js").read_text()
    widths = json.loads(re.search(r"width: (\[.*\])", source)[1])
    sizes = {(w, w) for w in widths[1:]} | {(64, w) for w in widths[1:]}
    assert {tuple(map(int, key.split("x"))) for key in letters} >= sizes
    for key, packed in letters.items():
        rows, columns = map(int, key.split("x"))
        bits = np.frombuffer(base64.b64decode(packed), np.uint8)
        mask = np.unpackbits(bits)[: rows * columns].reshape(rows, columns)
        wanted = draw_mark(MarkSpec(text="a"), rows, columns).mask_IO
        np.testing.assert_array_equal(mask.astype(bool), wanted)


def test_the_command_writes_the_file_or_opens_it(birthmark, tmp_path, monkeypatch):
    status, out, _ = birthmark("explore", "--out", tmp_path / "page.html")
    assert status == 0
    assert out.strip() == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")

    status, _, error = birthmark("explore", "--out", tmp_path / "none" / "page.html")
    assert status == 2
    assert "cannot write" in error
    assert len(error.splitlines()) == 1

    opened = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(webbrowser, "open", lambda url: not opened.append(url))
    status, out, _ = birthmark("explore")
    assert status == 0
    assert opened == [f"file://{out.strip()}"]
