"""`birthmark check`: exit status, tables, JSON and the page, as a user meets them."""

import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from torch import nn

import birthmark as bm
from birthmark.checkup import check, take_batch
from birthmark.errors import SpecError, StoreError
from birthmark.report import write_checkup

MODELS = """
from torch import nn

def healthy():
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

def images():
    rest = nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)
    return nn.Sequential(nn.Conv2d(1, 8, 3), *rest)

def constant():
    model = healthy()
    for layer in (model[0], model[2]):
        nn.init.constant_(layer.weight, 0.5)
        nn.init.zeros_(layer.bias)
    return model

def frozen():
    model = healthy()
    model[0].requires_grad_(False)
    return model

ready = healthy()

def broken():
    raise RuntimeError("no such file: weights.pt")
"""


@pytest.fixture
def call(monkeypatch, birthmark, tmp_path):
    """Run the command line in a folder with a file of models."""
    (tmp_path / "mymodels.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mymodels", raising=False)

    def run(*arguments):
        torch.manual_seed(0)
        return birthmark("check", *arguments)

    return run


@pytest.mark.parametrize("name", ["healthy", "images", "ready"])
def test_a_healthy_model_passes(call, name):
    status, out, err = call(f"mymodels:{name}", "--fail-on", "warning")
    assert (status, err) == (0, "")
    assert out.startswith("Sequential: healthy")
    assert "Initial loss" in out


@pytest.mark.parametrize(
    ("model", "level", "status"),
    [
        ("constant", None, 0),
        ("constant", "error", 1),
        ("constant", "note", 1),
        ("frozen", "note", 1),
        ("frozen", "warning", 0),
    ],
)
def test_the_exit_status_is_for_machines(call, model, level, status):
    options = ["--fail-on", level] if level else []
    assert call(f"mymodels:{model}", *options)[0] == status


def test_a_file_of_python_is_an_address_too(call):
    assert call("mymodels.py:healthy")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mymodels"], "module:name"),
        (["mymodels:nothing"], "no attribute 'nothing'"),
        (["nowhere:model"], "No module named 'nowhere'"),
        (["mymodels:broken"], "no such file: weights.pt"),
        (["mymodels:MODELS"], "no attribute"),
        (["mymodels:healthy", "--fail-on", "warnings"], "did you mean 'warning'"),
        (["mymodels:healthy", "--data", "mnits"], "did you mean 'mnist'"),
        (["mymodels:healthy", "--shape", "imag"], "did you mean 'image'"),
        (["mymodels:healthy", "--preprocessing", "unity"], "did you mean 'unit'"),
        (["mymodels:healthy", "--loss", "nl"], "did you mean 'nll'"),
        (["mymodels:healthy", "--json", "no/where.json"], "cannot write"),
        (["mymodels:healthy", "--html", "no/where.html"], "cannot write"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(call, arguments, words):
    status, _, err = call(*arguments)
    assert status == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1


def test_the_json_holds_all_readings_and_is_strict(call, tmp_path):
    call("mymodels:constant", "--json", "out.json", "--deep")
    text = (tmp_path / "out.json").read_text()
    read = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert [layer["name"] for layer in read["layers"]] == ["0", "2"]
    assert read["tensors"][0]["distinct_units"] == 1
    assert read["outcome"]["num_classes"] == 10
    assert read["curvature"]["sharpness"] > 0
    assert {f["level"] for f in read["findings"]} <= {"note", "warning", "error"}
    assert read["findings"][0]["level"] == "error"


def test_the_text_has_findings_before_tables():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    nn.init.zeros_(model[2].weight)
    text = check(model, (torch.randn(9, 8), torch.arange(9) % 3)).text()
    assert text.index("NOTE [late_start]") < text.index("layer  kind")
    assert all(line == line.rstrip() for line in text.splitlines())


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.ids, self.open = [], set(), []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids.update(value for key, value in attributes if key == "id")
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_has_all_findings(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    nn.init.constant_(model[0].weight, 0.1)
    checkup = check(model, (torch.randn(9, 8), torch.arange(9) % 3))
    page = write_checkup(checkup, tmp_path / "c.html").read_text()
    reader = Reader()
    reader.feed(page)
    assert not reader.open
    assert not [t for t, _ in reader.tags if t in ("script", "link", "img", "iframe")]
    assert not re.findall(r"https?://", page)
    for _, attributes in reader.tags:
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in reader.ids
    assert page.count('<article class="finding') == len(checkup.findings) > 0
    assert page.count("<tr") == 2 + len(checkup.layers) + len(checkup.tensors)


def test_names_of_the_users_cannot_break_the_page(tmp_path):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module("<b>&", nn.Linear(4, 3))

        def forward(self, x):
            return self.get_submodule("<b>&")(x)

    checkup = check(Odd(), torch.randn(5, 4))
    page = write_checkup(checkup, tmp_path / "c.html").read_text()
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page


def test_a_page_that_cannot_be_written_is_refused(tmp_path):
    checkup = check(nn.Linear(4, 3), torch.randn(5, 4))
    with pytest.raises(StoreError, match="cannot write"):
        write_checkup(checkup, tmp_path)


def test_a_batch_of_a_data_set_is_what_its_preprocessing_shows():
    dataset = bm.load_dataset("digits")
    flat, y = take_batch(dataset, nn.Linear(64, 10), examples=50)
    assert (flat.shape, flat.dtype, y.dtype) == ((50, 64), np.float32, np.int64)
    image, same = take_batch(dataset, nn.Conv2d(1, 2, 3), examples=50)
    assert image.shape == (50, 1, 8, 8)
    np.testing.assert_array_equal(image.reshape(50, 64), flat)
    np.testing.assert_array_equal(same, y)
    assert len(set(y.tolist())) == 10  # from all over the set
    rows = {row.tobytes() for row in dataset.x_train}
    for row in flat:
        pixels = np.rint((row * dataset.std + dataset.mean) * dataset.full_scale)
        assert pixels.astype(np.uint8).tobytes() in rows
    with pytest.raises(SpecError, match="at least 2"):
        take_batch(dataset, nn.Linear(64, 10), examples=1)
