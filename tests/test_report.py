"""The report: self-contained, true to the records, safe, and readable everywhere."""

import base64
import hashlib
import html
import io
import json
import os
import re
import shutil
import socket
import subprocess
import tomllib
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image

from birthmark.analysis import (
    LEARNERS,
    Axis,
    Run,
    Survey,
    Thresholds,
    find_findings,
    look_at,
    read_survey,
)
from birthmark.errors import StoreError
from birthmark.figures import Drawing, draw_figures, find_drawings
from birthmark.figures.palettes import PALETTES
from birthmark.report import write_report
from birthmark.report.facts import flatten, split_facts
from birthmark.report.pictures import embed
from birthmark.shapes import StepMetrics
from birthmark.store import RunDescription, open_store
from birthmark.sweeps import Grid, run_grid

MARK = "<i>"
THRESHOLDS = Thresholds(strong=0.08125)  # not the defaults
VOID = {"meta", "img", "br", "hr", "link", "input", "source"}


class Page(HTMLParser):
    """Elements, text, and what is wrong with the nesting."""

    def __init__(self, text):
        super().__init__()
        self.open, self.faults, self.elements, self.words = [], [], [], []
        self.feed(text)
        self.faults += [f"<{tag}> is never closed" for tag in self.open]
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two runs of the real pipeline, and one that was only asked for."""
    grid = Grid.from_tables(
        {
            "spec": {
                "data": {"name": "digits", "examples_per_class": 12},
                "training": {"epochs": 12, "lr": 0.3, "batch_size": 32},
                "mark": {"text": MARK, "layer": "hidden2"},
                "record": {"weights": "log"},
                "run": {"replicas": 2},
            },
            "grid": {"product": {"network.widths": [[16, 16], [40, 40]]}},
        }
    )
    folder = tmp_path_factory.mktemp("report") / "<s>&runs"
    run_grid(grid, folder)
    store = open_store(folder)
    store.start_run(grid.specs[0].with_settings({"run.seed": 7}))
    return store


@pytest.fixture(scope="module")
def path(store):
    """The page, written with the network switched off."""

    def refuse(*_):
        raise AssertionError("a report has asked for the network")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        return write_report(store, store.path / "report.html", THRESHOLDS)


@pytest.fixture(scope="module")
def page(path):
    return Page(path.read_text(encoding="utf-8"))


def _decode(uri):
    kind, _, content = uri.removeprefix("data:").partition(";base64,")
    return kind, base64.b64decode(content)


def test_html_is_well_formed(page):
    assert page.faults == []
    ids = [one["id"] for _, one in page.elements if "id" in one]
    assert len(ids) == len(set(ids))
    targets = [one["href"] for one in page.all("a") if one["href"].startswith("#")]
    assert targets
    assert {target[1:] for target in targets} <= set(ids)


def test_nothing_is_loaded_from_elsewhere(page, path):
    links = [
        one[name]
        for _, one in page.elements
        for name in ("src", "href", "srcset", "action", "poster")
        if name in one
    ]
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    style = re.search(r"<style>(.*?)</style>", path.read_text(), re.S)[1]
    assert "url(" not in style and "@import" not in style


def test_policy_forbids_all_but_the_pictures_and_the_style_of_the_page(page, path):
    (policy,) = [
        one["content"]
        for one in page.all("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    style = re.search(r"<style>(.*?)</style>", path.read_text(), re.S)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert "script-src" not in rules


def test_what_others_wrote_is_text_and_never_markup(page, path):
    assert page.all("i", "script") == []
    assert MARK in page.text
    assert "from the store <s>&runs" in page.text
    assert "&lt;i&gt;" in path.read_text()


def test_each_finding_is_a_line_with_how_and_how_much_folded_below_it(store, page):
    findings = find_findings(read_survey(store, THRESHOLDS))
    assert len(findings) > 4
    for finding in findings:
        for part in ("what", "details", "why", "how", "source"):
            assert " ".join(getattr(finding, part).split()) in page.text, finding.name
    assert len(page.all("details")) >= len(findings)
    sections = [one["id"] for one in page.all("section")]
    assert sections[:3] == ["findings", "protocol", "runs"]
    assert "0.08125 and 0.1 of the loss of chance" in page.text
    for name, value, meaning in THRESHOLDS.rows():
        assert f"{name} {value} {meaning}" in page.text


def test_the_first_screen_says_what_happened(store, page):
    glance = page.text.partition("Findings Protocol Runs")[0]
    assert "digits: 4 networks along width" in glance
    assert "4 networks in 2 runs on digits, up to 12 epochs; 1 run without" in glance
    learners = next(
        one
        for one in find_findings(read_survey(store, THRESHOLDS))
        if one.name == "learners"
    )
    assert learners.what in glance
    assert "retention of the mark at the end, median (AUC, perfect: 1" in glance
    pictures = [one for one in page.all("img") if one.get("class") == "matrix"]
    assert len(pictures) == 2
    labels = [one["aria-label"] for one in page.all("svg") if "aria-label" in one]
    assert labels and labels[0].startswith("16: ")
    drawn = {one["class"] for one in page.all("rect") if one.get("class")}
    meant = {name for name in LEARNERS if f" {name}: " in glance.partition("became")[2]}
    assert meant == drawn  # each kind in the bars, and no other, has its meaning there


def test_the_mark_is_shown_on_the_scale_of_its_start(store, page):
    run = next(one for one in read_survey(store).runs if one.width == 40)
    bound = float(run.records["bound"].sel(layer="hidden2"))
    start, end = (
        np.asarray(Image.open(io.BytesIO(_decode(one["src"])[1])).convert("RGB"))
        for one in page.all("img")
        if one.get("class") == "matrix"
    )
    weights = [store.weights(run.run_key, epoch)["hidden2"].w for epoch in (0, 12)]
    replica = min(range(2), key=lambda i: float(run.records["train_loss"][-1, i]))
    for picture, w_RIO in zip((start, end), weights, strict=True):
        w_IO = w_RIO[replica]
        assert picture.shape == (*w_IO.shape, 3)
        white = (picture.min(axis=-1) > 240) & (np.ptp(picture, axis=-1) < 12)
        assert white[np.abs(w_IO) < 0.01 * bound].all()
        assert not white[np.abs(w_IO) > 0.3 * bound].any()
        full = picture[w_IO >= bound]  # from the bound on there is one colour
        assert len(np.unique(full, axis=0)) <= 1


def test_table_has_all_runs_with_the_numbers_of_their_records(store, page):
    told_of_runs = page.text.partition("95 % intervals below.")[2].partition("Words")[0]
    for _, row in store.runs().iterrows():
        key = row["run_key"]
        told = told_of_runs.partition(key)[2]
        told = re.split(r"\b[0-9a-f]{16}\b", told)[0]
        widths = ", ".join(map(str, row["network.widths"]))
        assert told.strip().startswith(f"digits {widths} 0.3")
        assert f"{MARK} hidden2, zero" in told
        records = store.records(key)
        if not records.sizes.get("step", 0):
            assert "0 of 12 unfinished unknown" in told
            continue
        assert "12 of 12 done" in told
        last = records.isel(step=-1).sel(layer="hidden2")
        for values in (
            records.train_loss.min("step"),
            records.test_loss.min("step"),
            last.relative_distance,
            last.correlation,
            last.mark_pooled_auc,
        ):
            mean = float(np.mean(values))
            assert _close_number(mean, told), (key, values.name, mean)


def _close_number(value, text):
    numbers = [float(word) for word in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", text)]
    return any(abs(number - value) <= 0.006 * abs(value) for number in numbers)


def test_protocol_has_every_field_of_each_spec(store, page):
    for key in store.runs(state="done")["run_key"]:
        spec = tomllib.loads((store.path / key / "spec.toml").read_text())
        for name in flatten(spec):
            if name != "initialization.layers":  # none of its own
                assert name in page.text, name
    assert "training.lr 0.3" in page.text
    assert "network.widths 40, 40" in page.text


def test_provenance_names_versions_device_and_data(store, page):
    told = page.text.partition("Provenance Software")[2]
    manifest = store.manifest(store.runs(state="done")["run_key"][0])
    for name, value in flatten(manifest).items():
        if name != "wall_time_s" and isinstance(value, str):
            assert f"{name} {value}" in told


def test_figures_follow_the_theme_and_have_their_text_and_data(store, page):
    drawings = find_drawings(store)
    pictures = [one for one in page.all("img") if one.get("class") != "matrix"]
    assert {one["alt"] for one in pictures} == {one.title for one in drawings}
    for drawing in drawings:
        assert drawing.title in page.text
        assert " ".join(drawing.caption.split()) in page.text
    for one in pictures:
        kind, content = _decode(one["src"])
        if kind == "image/svg+xml":
            assert ElementTree.fromstring(content).tag.endswith("svg")
            assert b"prefers-color-scheme:dark" in content
            colours = content.partition(b"</style>")[2]
            for colour in (PALETTES["light"].ink, PALETTES["light"].train):
                assert colour.lower().encode() not in colours
        else:
            assert Image.open(io.BytesIO(content)).format == "WEBP"
            assert one["class"] in ("light", "dark")
    downloads = {
        one["download"]: one["href"] for one in page.all("a") if "download" in one
    }
    for drawing in drawings:
        _, content = _decode(downloads[f"{drawing.name}.npz"])
        with np.load(io.BytesIO(content)) as kept:
            assert set(kept) == set(drawing.data)
            for name, values in drawing.data.items():
                np.testing.assert_array_equal(kept[name], values)


def test_the_protocol_stands_once_and_not_below_each_figure(page):
    assert "Protocol: digits" not in page.text
    assert page.text.count("training.batch_size 32") == 1


def test_a_damaged_run_is_named_and_does_not_keep_the_others_away(tmp_path, store):
    copied = tmp_path / "copy"
    shutil.copytree(store.path, copied, ignore=shutil.ignore_patterns("*.html"))
    key, other = store.runs(state="done")["run_key"]
    for segment in (copied / key).glob("metrics-*.parquet"):
        segment.write_bytes(b"no table")
    text = write_report(open_store(copied), tmp_path / "report.html").read_text()
    found = Page(text)
    assert f"Run {key} cannot be read and is left out" in found.text
    assert "digits: 2 networks" in found.text and other in found.text
    assert "records of weights yet; 1 run that cannot be read." in found.text


def test_losses_alone_are_no_run_of_a_report(tmp_path, birthmark):
    store = open_store(tmp_path / "runs", create=True)
    run = store.start_run(RunDescription("tracked", "mine", {"lr": 0.1}))
    run.append_metrics(StepMetrics(0, {"loss": np.array([2.0])}))
    run.finish({})
    assert read_survey(store).families == ()
    status, _, error = birthmark("report", tmp_path / "runs")
    assert status == 2
    assert "holds no records to report" in error


def test_a_run_in_a_loop_of_its_own_is_reported_by_its_layers(tmp_path):
    layers = ["embed", "block.0", "head"]
    steps = np.arange(0, 60, 10)
    distance = np.sqrt(steps)[:, None, None] * np.array([0.1, 0.05, 0.2])
    records = xr.Dataset(
        {"relative_distance": (("step", "replica", "layer"), distance)},
        {"step": steps, "layer": layers},
    )
    run = Run("f" * 16, None, records, {"lr": 0.1, "kind": "tracked", "name": "mine"})
    other = Run("e" * 16, None, records, {"lr": 0.3, "kind": "tracked", "name": "b"})
    (family,) = Survey(None, (run, other)).families
    assert family.axis == Axis("lr", (0.1, 0.3))
    overview = look_at(family)
    assert overview.sentence.startswith(
        "At learning rate 0.3: layer head has moved the farthest from its start, 1.4"
    )
    assert overview.fates == () and overview.numbers[0].text == "1.4"
    assert overview.title == "runs: 2 networks along learning rate"
    named = [
        Run(one.run_key, None, records, {**one.fields, "name": f"mine, lr {lr}"})
        for one, lr in ((run, 0.1), (other, 0.3))
    ]
    (family,) = Survey(None, tuple(named)).families
    assert look_at(family).title == "mine: 2 networks along learning rate"
    files = draw_figures(Survey(None, (run, other)), tmp_path)
    assert {path.stem for path in files} == {"layers-mine", "trends-mine"}


def test_a_large_drawing_is_shown_in_pixels_and_its_data_left_out():
    noise = np.random.default_rng(0).normal(size=100_000)

    def paint(data, palette):
        figure = Figure(figsize=(2, 1))
        figure.subplots().scatter(data["noise"][:9000], data["noise"][-9000:])
        return figure

    drawing = Drawing("noise", 1, "Noise", "Noise.", {"noise": noise}, paint)
    picture = embed(drawing)
    kind, content = _decode(picture.light)
    assert kind == "image/webp"
    with Image.open(io.BytesIO(content)) as image:
        assert image.width == 2 * image.height
    assert picture.data == ""


def test_readers_of_screens_find_language_headings_headers_and_regions(page):
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("main")) == len(page.all("h1")) == 1
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
    assert all("scope" in one for one in page.all("th"))
    boxes = [one for one in page.all("div") if one.get("class") == "box"]
    assert boxes
    for one in boxes:
        assert one["tabindex"] == "0" and one["role"] == "region"
        assert "aria-label" in one or "aria-labelledby" in one


def test_a_place_that_cannot_be_written_is_refused_in_one_line(store, tmp_path):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")  # stands for any device: `/dev/null` was replaced
    for target, why in {
        "pipe": "what is there is no file",
        "folder": "name a file in a folder that exists",
        "none/report.html": "name a file in a folder that exists",
        "file/report.html": "name a file in a folder that exists",
    }.items():
        with pytest.raises(StoreError, match="cannot write .*" + why) as caught:
            write_report(store, tmp_path / target)
        assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "kept"
    assert (tmp_path / "pipe").is_fifo()


def test_a_store_without_records_is_refused_and_the_old_report_stays(tmp_path):
    empty = open_store(tmp_path / "runs", create=True)
    report = tmp_path / "report.html"
    report.write_text("old")
    with pytest.raises(StoreError, match="no records"):
        write_report(empty, report)
    assert report.read_text() == "old"


def test_no_temporary_file_is_left(path):
    assert [one.name for one in path.parent.glob("*report.html*")] == ["report.html"]


def test_facts_that_divide_the_runs_alike_stand_together():
    facts = split_facts(
        {
            "a": {"data": {"name": "digits"}, "mark": {"text": "x", "value": 0.5}},
            "b": {"data": {"name": "digits"}, "mark": {"text": "x", "value": 0.5}},
            "c": {"data": {"name": "digits"}, "mark": {"text": None}},
        }
    )
    assert facts.common == (("data.name", "digits"),)
    (groups,) = facts.apart
    assert [group.run_keys for group in groups] == [("a", "b"), ("c",)]
    assert groups[0].values == (("mark.text", "x"), ("mark.value", "0.5"))
    assert groups[1].values == (("mark.text", "none"), ("mark.value", "none"))
    assert facts.few == [groups] and facts.many == []


def test_fields_of_many_values_stand_apart_from_those_of_few():
    runs = {str(n): {"run": {"seed": n}, "lr": 0.1 * (n % 2)} for n in range(200)}
    facts = split_facts(runs)
    (few,), (many,) = facts.few, facts.many
    assert (len(few), len(many)) == (2, 200)
    assert many[7].values == (("run.seed", "7"),)


# what a browser makes of it


MEASURE = """
<script>
function luminance(rgb) {
  const [r, g, b] = rgb.map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const parse = text => text.match(/[\\d.]+/g).map(Number);
function background(element) {
  for (; element; element = element.parentElement) {
    const rgba = parse(getComputedStyle(element).backgroundColor);
    if (rgba.length == 3 || rgba[3] > 0) return rgba.slice(0, 3);
  }
  return [0, 255, 0];
}
onload = () => {
  const images = [...document.images];
  const shown = images.filter(i => getComputedStyle(i).display != "none");
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let contrast = 21;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.tagName == "SCRIPT") continue;
    const a = luminance(parse(getComputedStyle(element).color).slice(0, 3));
    const b = luminance(background(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    contrast = Math.min(contrast, ratio);
  }
  parent.postMessage(JSON.stringify({
    window: innerWidth,
    page: document.documentElement.scrollWidth,
    shown: [...new Set(shown.map(i => i.className))],
    broken: images.filter(i => !i.naturalWidth).length,
    images: images.length,
    contrast: contrast,
  }), "*");
};
</script>
"""
# a window is never narrower than 500 pixels, a frame can be
FRAME = """<!doctype html>
<iframe srcdoc="{page}" style="width: 360px; height: 800px; border: 0"></iframe>
<script>
onmessage = event => document.body.dataset.measured = event.data;
</script>
"""


def _browse(page, profile, *options):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs a browser: chromium or google-chrome")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu"]
    command += ["--disable-background-networking", "--disable-component-update"]
    command += ["--no-first-run", "--disable-sync", "--disable-quic"]
    command += [f"--user-data-dir={profile}", "--enable-logging=stderr", *options]
    return subprocess.run(
        [*command, page.as_uri()], capture_output=True, text=True, timeout=60
    )


def _console(seen):
    return [line for line in seen.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize(("theme", "setting"), [("light", "1"), ("dark", "0")])
def test_page_fits_a_phone_and_can_be_read_in_both_themes(
    path, tmp_path, theme, setting
):
    text = path.read_text()
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', text)[0]
    text = text.replace(policy, "").replace("</body>", MEASURE + "</body>")
    framed = tmp_path / "framed.html"
    framed.write_text(FRAME.format(page=html.escape(text)))
    seen = _browse(
        framed,
        tmp_path / "profile",
        f"--blink-settings=preferredColorScheme={setting}",
        "--virtual-time-budget=5000",
        "--dump-dom",
    )
    found = Page(seen.stdout).all("body")[0]["data-measured"]
    found = json.loads(found)
    assert found["window"] == 360
    assert found["page"] <= 360
    assert theme in found["shown"] or found["shown"] == ["matrix", ""]
    assert found["images"] and not found["broken"]
    assert found["contrast"] >= 4.5


def test_browser_has_nothing_to_complain_of_and_obeys_the_policy(path, tmp_path):
    seen = _browse(path, tmp_path / "profile", "--dump-dom")
    assert "Findings" in seen.stdout
    assert _console(seen) == []
    harmed = tmp_path / "harmed.html"
    foreign = "<script>document.title = 'taken'</script><img src='http://0.0.0.0/x'>"
    harmed.write_text(path.read_text().replace("</body>", foreign + "</body>"))
    seen = _browse(harmed, tmp_path / "profile", "--dump-dom")
    assert "<title>taken" not in seen.stdout
    assert len([line for line in _console(seen) if "Security Policy" in line]) == 2


def test_print_is_light_on_a_dark_screen_and_a4(path, tmp_path):
    pdf = tmp_path / "report.pdf"
    _browse(
        path,
        tmp_path / "profile",
        "--blink-settings=preferredColorScheme=0",
        "--no-pdf-header-footer",
        f"--print-to-pdf={pdf}",
    )
    content = pdf.read_bytes()
    boxes = set(re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", content))
    sizes = {(round(float(w)), round(float(h))) for w, h in boxes}
    assert sizes == {(595, 842), (842, 595)}  # points; the tables of runs lie across
