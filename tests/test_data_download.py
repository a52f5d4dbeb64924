"""Downloads from a real server on the loopback address that misbehaves as told."""

import gzip
import hashlib
import re
import struct
import threading
from collections import defaultdict
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from birthmark.data import fetch_dataset, load_dataset
from birthmark.data.catalogue import CATALOGUE
from birthmark.data.download import download
from birthmark.errors import DataError

CONTENT = np.random.default_rng(0).bytes(300_000)


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; a number in `server.breaks` ends a transfer early."""

    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Range"), self.headers))
        content = server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        found = re.match(r"bytes=(\d+)-$", self.headers.get("Range", ""))
        start = int(found[1]) if found and server.knows_range else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            whole = len(content)
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        breaks = server.breaks[self.path]
        self.wfile.write(content[start:][: breaks.pop(0) if breaks else None])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = False
        server.files, server.breaks = {}, defaultdict(list)
        server.asked, server.knows_range = [], True
        server.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def fetched(server, tmp_path):
    """Download CONTENT from the paths of the server; the bytes accepted."""
    accepted = []

    def accept(part):
        content = part.read_bytes()
        if content != CONTENT:
            raise DataError(f"{len(content)} wrong bytes")
        accepted.append(content)

    def run(*paths, begun=b"", **options):
        part = tmp_path / "file.part"
        if begun:
            part.write_bytes(begun)
        download([server.address + path for path in paths], part, accept, **options)
        assert accepted == [CONTENT]
        assert not part.exists()
        return [(path, asked) for path, asked, _ in server.asked]

    return run


def test_a_broken_transfer_goes_on_where_it_broke(server, fetched) -> None:
    server.files["/a"] = CONTENT
    server.breaks["/a"] = [102_400, 51_200]
    assert fetched("/a") == [
        ("/a", None),
        ("/a", "bytes=102400-"),
        ("/a", "bytes=153600-"),
    ]


def test_a_part_left_by_an_earlier_process_is_continued(server, fetched) -> None:
    server.files["/a"] = CONTENT
    assert fetched("/a", begun=CONTENT[:123]) == [("/a", "bytes=123-")]


def test_a_part_that_is_whole_is_taken(server, fetched) -> None:
    server.files["/a"] = CONTENT
    assert fetched("/a", begun=CONTENT) == [("/a", "bytes=300000-")]


@pytest.mark.parametrize("begun", [b"of another file", CONTENT + b"too long"])
def test_a_part_of_another_file_is_thrown_away(server, fetched, begun) -> None:
    server.files["/a"] = CONTENT
    asked = fetched("/a", begun=begun)
    assert asked == [("/a", f"bytes={len(begun)}-"), ("/a", None)]


def test_a_server_without_ranges_gives_the_whole_again(server, fetched) -> None:
    server.files["/a"] = CONTENT
    server.knows_range = False
    server.breaks["/a"] = [102_400]
    assert [asked for _, asked in fetched("/a")] == [None, "bytes=102400-"]


def test_a_mirror_that_breaks_off_without_anything_new_is_left(server, fetched) -> None:
    server.files |= {"/a": CONTENT, "/b": CONTENT}
    server.breaks["/a"] = [51_200, 0]
    assert fetched("/a", "/b") == [
        ("/a", None),
        ("/a", "bytes=51200-"),
        ("/b", "bytes=51200-"),
    ]


def test_a_wrong_file_is_removed_and_the_next_mirror_asked(server, fetched) -> None:
    server.files |= {"/a": b"<html>moved</html>", "/b": CONTENT}
    assert fetched("/missing", "/a", "/b") == [
        ("/missing", None),
        ("/a", None),
        ("/b", None),
    ]


def test_requests_name_the_client_and_want_bytes_as_they_are(server, fetched) -> None:
    server.files["/a"] = CONTENT
    fetched("/a")
    headers = server.asked[0][2]
    assert headers["User-Agent"].startswith("birthmark")
    assert headers["Accept-Encoding"] == "identity"


def test_a_bar_is_drawn_only_when_asked(server, fetched, capsys) -> None:
    server.files["/a"] = CONTENT
    fetched("/a")
    assert capsys.readouterr() == ("", "")


def test_the_bar_begins_where_the_part_ends(server, fetched, capsys) -> None:
    server.files["/a"] = CONTENT
    fetched("/a", begun=CONTENT[:150_000], progress=True)
    drawn = capsys.readouterr()
    assert drawn.out == ""
    assert "50%" in drawn.err
    assert "300k/300k" in drawn.err


def test_when_no_mirror_is_good_each_has_its_reason(server, tmp_path) -> None:
    server.files["/b"] = b"wrong"

    def refuse(part):
        raise DataError("not this")

    part = tmp_path / "file.part"
    nobody = "http://127.0.0.1:9/file"
    urls = [f"{server.address}/a", f"{server.address}/b", nobody]
    with pytest.raises(DataError) as caught:
        download(urls, part, refuse)
    assert str(caught.value) == (
        f"{urls[0]}: HTTP status 404; {urls[1]}: not this; {nobody}: ConnectionError"
    )
    assert not part.exists()


@pytest.fixture
def published(server, monkeypatch, tmp_path):
    """A small MNIST on two mirrors of the server, and nothing of it here."""
    monkeypatch.delenv("BIRTHMARK_DATA", raising=False)
    monkeypatch.setenv("BIRTHMARK_CACHE", str(tmp_path / "cache"))
    draw = np.random.default_rng(1)
    arrays = [
        draw.integers(0, 16, (30, 28, 28)),
        np.arange(30) % 10,
        draw.integers(0, 16, (10, 28, 28)),
        np.arange(10),
    ]
    files, contents = [], {}
    for file, array in zip(CATALOGUE["mnist"].files, arrays, strict=True):
        content = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        content += array.astype(np.uint8).tobytes()
        contents[file.name] = content
        urls = tuple(f"{server.address}/{m}/{file.name}" for m in ("one", "two"))
        md5 = hashlib.md5(content).hexdigest()
        files.append(replace(file, urls=urls, md5=md5))
        for mirror, level in (("one", 1), ("two", 9)):
            packed = gzip.compress(content, compresslevel=level)
            server.files[f"/{mirror}/{file.name}"] = packed
    entry = replace(CATALOGUE["mnist"], files=tuple(files), num_train=30, num_test=10)
    monkeypatch.setitem(CATALOGUE, "mnist", entry)
    return contents


def test_a_fetched_set_is_kept_and_not_fetched_again(
    server, published, tmp_path
) -> None:
    for name in ("train", "t10k"):
        server.breaks[f"/one/{name}-images-idx3-ubyte.gz"] = [2048]
    one = fetch_dataset("mnist")
    assert [file.name for file in one.files] == list(published)
    assert sorted(f.name for f in (tmp_path / "cache/mnist").iterdir()) == sorted(
        published
    )
    assert len(server.asked) == 6
    fetch_dataset("mnist")
    dataset = load_dataset("mnist")
    assert len(server.asked) == 6
    assert dataset.x_train.tobytes() == published["train-images-idx3-ubyte.gz"][16:]
    assert dataset.y_test.tolist() == list(range(10))


def test_loading_fetches_what_is_missing(server, published, tmp_path) -> None:
    load_dataset("mnist")
    name = "t10k-images-idx3-ubyte.gz"
    (tmp_path / "cache" / "mnist" / name).unlink()
    load_dataset("mnist")
    assert [path for path, *_ in server.asked[4:]] == [f"/one/{name}"]


def test_a_part_of_one_mirror_is_not_mixed_with_another_packing(
    server, published
) -> None:
    name = "train-images-idx3-ubyte.gz"
    server.breaks[f"/one/{name}"] = [2048, 0]
    fetch_dataset("mnist")
    asked = [(p, r) for p, r, _ in server.asked if p.endswith(name)]
    two = f"/two/{name}"
    assert asked[-2:] == [(two, "bytes=2048-"), (two, None)]
    assert load_dataset("mnist").x_train.tobytes() == published[name][16:]


def test_a_mirror_that_mixes_up_files_is_left(server, published) -> None:
    one = "/one/train-images-idx3-ubyte.gz"
    server.files[one] = server.files["/one/t10k-images-idx3-ubyte.gz"]
    assert fetch_dataset("mnist").is_here
    assert len(load_dataset("mnist").y_train) == 30


def test_without_a_mirror_one_line_says_where_to_get_it(
    server, published, tmp_path
) -> None:
    server.files.clear()
    for act in (fetch_dataset, load_dataset):
        with pytest.raises(DataError) as caught:
            act("mnist")
        message = str(caught.value)
        assert "\n" not in message
        for part in (
            "mnist: train-images-idx3-ubyte.gz",
            "BIRTHMARK_DATA",
            str(tmp_path / "cache"),
            "HTTP status 404",
            f"get it from {server.address}/one/train-images-idx3-ubyte.gz",
            "birthmark data import mnist PATH",
        ):
            assert part in message
    assert not list((tmp_path / "cache" / "mnist").iterdir())


def test_an_unwritable_cache_is_named(published, monkeypatch, tmp_path) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("BIRTHMARK_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot be written.*BIRTHMARK_CACHE"):
        fetch_dataset("mnist")


def test_real_mnist_comes_over_a_connection_that_breaks(
    real_data, server, monkeypatch, tmp_path
) -> None:
    expected = load_dataset("mnist").checksum
    monkeypatch.delenv("BIRTHMARK_DATA")
    monkeypatch.setenv("BIRTHMARK_CACHE", str(tmp_path / "cache"))
    entry, files = CATALOGUE["mnist"], []
    for file in entry.files:
        server.files[f"/{file.name}"] = (real_data / "mnist" / file.name).read_bytes()
        server.breaks[f"/{file.name}"] = [3000, 20_000]
        files.append(replace(file, urls=(f"{server.address}/{file.name}",)))
    monkeypatch.setitem(CATALOGUE, "mnist", replace(entry, files=tuple(files)))
    assert load_dataset("mnist").checksum == expected
    assert len(server.asked) == 3 + 3 + 3 + 2  # the last file is a short one
