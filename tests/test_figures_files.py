"""Figures as files: kinds, themes, sizes, what is missing, and what may fail."""

import io
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from birthmark.analysis import Axis, read_survey
from birthmark.errors import SpecError, StoreError
from birthmark.figures import draw_figures, draw_survey, find_drawings, make_each
from birthmark.figures.canvas import axis_data, new_figure, tick_axis
from birthmark.figures.palettes import PALETTES, styled
from figures_store import small_spec, write_store

MARK = {"text": "a"}
HAS_FFMPEG = bool(find_spec("imageio_ffmpeg") or shutil.which("ffmpeg"))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    marked = small_spec(mark=MARK)
    specs = [marked, marked.with_settings({"network.widths": [32, 32]})]
    return write_store(tmp_path_factory.mktemp("files") / "store", specs)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """One network, with neither a mark nor kept weights."""
    spec = small_spec(run__replicas=1, record__weights=[], training__epochs=4)
    return write_store(tmp_path_factory.mktemp("files") / "plain", [spec])


@pytest.fixture(scope="module")
def drawings(store):
    return find_drawings(store)


@pytest.fixture(scope="module")
def files(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files") / "figures"
    formats = ["pdf", "png", "gif", *(["mp4"] if HAS_FFMPEG else [])]
    return {path.name: path for path in draw_figures(store, folder, formats=formats)}


@pytest.fixture(scope="module")
def svgs(drawings):
    return {drawing.name: drawing.render("svg") for drawing in drawings}


def test_a_drawing_is_rendered_to_the_same_bytes_each_time(drawings, svgs):
    for drawing in (drawings[0], drawings[3]):
        assert drawing.render("svg") == svgs[drawing.name]
    assert drawings[0].render("pdf") == drawings[0].render("pdf")
    again = replace(drawings[0], _drawn={})  # laid out anew, other files not before
    assert again.render("svg") == svgs[again.name]


def test_svgs_hold_no_fonts_and_stay_small_enough_for_a_page(svgs):
    for svg in svgs.values():
        assert b"<text" not in svg
        assert 10_000 < len(svg) < 400_000


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_backgrounds_are_transparent_unless_asked(drawings, theme):
    image = Image.open(io.BytesIO(drawings[1].render("png", theme)))
    assert image.mode == "RGBA" and image.getpixel((2, 2))[3] == 0
    opaque = Image.open(io.BytesIO(drawings[1].render("png", theme, opaque=True)))
    corner = opaque.convert("RGB").getpixel((2, 2))
    assert (min(corner) > 250) if theme == "light" else (max(corner) < 50)


def test_ink_is_dark_on_light_paper_and_light_on_dark_paper(drawings):
    for theme, right in (("light", np.less), ("dark", np.greater)):
        axes = drawings[1].draw(theme).axes[0]
        for part in (axes.yaxis.label, *axes.get_yticklabels()):
            red_green_blue = np.array(
                [int(part.get_color()[i : i + 2], 16) for i in (1, 3, 5)]
            )
            assert right(red_green_blue, 128).all()


def test_no_text_is_cut_off_and_no_labels_of_ticks_overlap(drawings):
    for drawing in drawings:
        figure = drawing.draw()
        figure.draw_without_rendering()
        renderer = figure._get_renderer()
        width, height = figure.bbox.width, figure.bbox.height
        for text in figure.findobj(Text):
            if not (text.get_visible() and text.get_text().strip()):
                continue
            box = text.get_window_extent(renderer)
            if not _shown(text, figure):
                continue
            assert box.x0 >= -1 and box.x1 <= width + 1, (drawing.name, text)
            assert box.y0 >= -1 and box.y1 <= height + 1, (drawing.name, text)
        for axes in figure.axes:
            labels = [t for t in axes.get_xticklabels() if t.get_text()]
            boxes = sorted(
                (t.get_window_extent(renderer) for t in labels), key=lambda b: b.x0
            )
            for left, right in zip(boxes, boxes[1:], strict=False):
                assert left.x1 <= right.x0, drawing.name


def test_formats_are_chosen_and_one_that_is_not_known_is_refused(plain, tmp_path):
    written = draw_figures(plain, tmp_path / "svg", formats=["svg"])
    assert {path.suffix for path in written} == {".svg", ".txt", ".npz", ".csv"}
    with pytest.raises(SpecError, match="unknown format 'jpg'"):
        draw_figures(plain, tmp_path / "none", formats=["jpg"])
    assert not (tmp_path / "none").exists()


def test_signs_of_our_font_and_of_others_are_in_a_pdf(drawings):
    """What our font lacks is taken from the one that matplotlib brings."""
    with styled(PALETTES["light"]):
        figure = new_figure(1)
        figure.text(0.1, 0.5, "γ ² − ≤ → ж \u05d0")  # the last is Hebrew
        pdf = io.BytesIO()
        figure.savefig(pdf, format="pdf")
    assert b"BirthmarkSans" in pdf.getvalue() and b"DejaVuSans" in pdf.getvalue()


@pytest.mark.parametrize("panels", [2, 3])
def test_the_values_of_an_axis_are_named_without_overlap(panels):
    widths = (10, 50, 100, 150, 200, 225, 250, 275, 300, 350, 400, 450, 500, 1000)
    words = tuple(f"{name}_uniform" for name in ("glorot", "he", "lecun", "a", "b"))
    for axis in (Axis("width", widths), Axis("initialization", words)):
        data = axis_data(axis)
        with styled(PALETTES["light"]):
            figure = new_figure(3)
            for axes in figure.subplots(1, panels):
                axes.plot(data["axis_places"], data["axis_places"])
                tick_axis(axes, data)
            figure.draw_without_rendering()
        labels = [t for t in axes.get_xticklabels() if t.get_text()]
        assert len(labels) >= 5
        if not axis.is_number:
            assert all(text.get_rotation() == 30 for text in labels)
            continue
        assert labels[0].get_text() == "1000"
        boxes = sorted(text.get_window_extent().intervalx.tolist() for text in labels)
        assert all(
            left[1] < right[0] for left, right in zip(boxes, boxes[1:], strict=False)
        )


def _shown(text, figure):
    """Ticks outside of the view keep labels that are never drawn."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            if any(text in (tick.label1, tick.label2) for tick in ticks):
                drawn = axis._update_ticks()
                return any(
                    text is tick.label1 and tick.label1.get_visible() for tick in drawn
                )
    return True


def test_the_key_of_the_curves_lies_above_all_panels(drawings):
    """Names of rules are long: within a panel they would cover the curves."""
    figure = next(one for one in drawings if one.number == 2).draw()
    key = figure.legends[0].get_window_extent()
    assert len(figure.legends[0].texts) == 2 and figure.axes[1].get_legend() is None
    assert all(key.y0 > axes.get_window_extent().y1 for axes in figure.axes[:2])


def test_lines_are_drawn_from_the_data(drawings):
    drawing = next(one for one in drawings if one.number == 2)
    curves = [line.get_ydata() for line in drawing.draw().axes[1].lines]
    for place in range(len(drawing.data["curves"])):
        mean = drawing.data[f"test_loss_mean_{place}"][1:]
        assert any(len(y) == len(mean) and (y == mean).all() for y in curves)


def test_each_drawing_is_written_as_pdf_png_data_and_caption(files, drawings):
    for drawing in drawings:
        assert files[f"{drawing.name}.pdf"].read_bytes().startswith(b"%PDF-")
        assert b"%%EOF" in files[f"{drawing.name}.pdf"].read_bytes()[-16:]
        with Image.open(files[f"{drawing.name}.png"]) as image:
            assert image.width == 2100  # 7 inches at 300 dots
            assert np.asarray(image.convert("L")).std() > 5
        caption = files[f"{drawing.name}.txt"].read_text(encoding="utf-8")
        assert caption == f"{drawing.text}\n"
        assert (f"{drawing.name}.npz" in files) != (f"{drawing.name}.csv" in files)


def test_the_data_read_back_are_the_data_drawn(files, drawings):
    for drawing in drawings:
        if f"{drawing.name}.npz" in files:
            with np.load(files[f"{drawing.name}.npz"], allow_pickle=False) as found:
                assert set(found) == set(drawing.data)
                for name in found:
                    np.testing.assert_array_equal(found[name], drawing.data[name])
        else:
            table = np.genfromtxt(
                files[f"{drawing.name}.csv"], delimiter=",", names=True
            )
            assert list(table.dtype.names) == list(drawing.data)
            for name in drawing.data:
                np.testing.assert_array_equal(table[name], drawing.data[name])


def test_the_animation_has_a_frame_for_each_epoch_kept(files, store):
    names = {name for name in files if name.endswith(".gif")}
    name = "animation-mark-digits-32.gif"
    assert names == {name, "animation-mark-digits-12.gif"}
    (key,) = [k for k in store.runs()["run_key"] if 32 in store.spec(k).network.widths]
    assert files[name].stat().st_size < 3_000_000
    with Image.open(files[name]) as gif:
        assert gif.n_frames == len(store.weights_epochs(key))
        first = np.asarray(gif.convert("RGB"), dtype=int)
        gif.seek(gif.n_frames - 1)
        last = np.asarray(gif.convert("RGB"), dtype=int)
    assert first[2, 2].min() >= 254
    assert (np.abs(first - last).max(axis=-1) > 60).mean() > 0.05


def test_an_mp4_is_written_where_there_is_an_ffmpeg(files):
    if not HAS_FFMPEG:
        pytest.skip("needs ffmpeg, or the package imageio-ffmpeg")
    name = "animation-mark-digits-32.mp4"
    assert files[name].read_bytes()[4:8] == b"ftyp"


def test_what_is_missing_is_explained(plain, tmp_path):
    found = draw_survey(read_survey(plain))
    assert [drawing.number for drawing in found.drawings] == [0, 3, 4, 5]
    missing = found.missing
    assert set(missing) == {
        "figure1-mark-digits",
        "figure2-regimes-digits",
        "figure6-scaling-digits",
        "trends-digits",
    }
    assert "no run has a mark" in missing["figure1-mark-digits"]
    assert "two values of a field" in missing["figure2-regimes-digits"]
    for drawing in found.drawings:
        assert "o interval" in drawing.caption
    written = draw_figures(plain, tmp_path / "figures")
    assert {path.suffix for path in written} == {".pdf", ".txt", ".npz", ".csv"}
    assert not [path for path in written if "animation" in path.name]


def test_what_is_drawn_in_processes_of_their_own_is_the_same(
    plain, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    alone = draw_figures(plain, tmp_path / "alone")
    apart = draw_figures(plain, tmp_path / "apart", apart=True)
    assert [path.name for path in apart] == [path.name for path in alone]
    for one, other in zip(alone, apart, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_a_marked_run_that_kept_no_weights_is_told_from_one_without_a_mark(tmp_path):
    spec = small_spec(
        mark=MARK, record__weights=[], training__epochs=3, run__replicas=1
    )
    store = write_store(tmp_path / "store", [spec])
    assert (
        'weights = "log"'
        in draw_survey(read_survey(store)).missing["figure1-mark-digits"]
    )


def test_an_empty_store_has_no_figures_and_says_so(tmp_path):
    store = write_store(tmp_path / "store", [])
    assert find_drawings(store) == []
    assert "no run" in draw_survey(read_survey(store)).missing["figures"]
    assert draw_figures(store, tmp_path / "figures") == []


def test_runs_that_differ_in_the_learning_rate_are_drawn_along_it(store, tmp_path):
    short = {"training__epochs": 4, "run__replicas": 1}
    specs = [
        small_spec(training__lr=lr, mark=mark, **short)
        for lr in (0.1, 0.6)
        for mark in (None, MARK)
    ]
    found = find_drawings(write_store(tmp_path / "store", specs))
    names = [drawing.name for drawing in found]
    assert len(set(names)) == len(names)
    assert "figure2-regimes-digits" in names and "trends-digits" in names
    regimes = next(one for one in found if one.number == 2)
    assert regimes.data["axis"].tolist() == [0.1, 0.6]
    assert str(regimes.data["axis_label"]) == "learning rate"
    # a mark alone does not set runs apart, and the unmarked run is the one pooled
    joint = next(one for one in found if one.number == 3)
    assert "under the mark" not in joint.caption


def test_replicas_frozen_by_nan_are_drawn_beside_the_others(tmp_path):
    specs = [
        small_spec(
            mark=MARK,
            network__widths=[n, n],
            training__loss="mean_squared_error",
            training__lr=lr,
            training__epochs=14,
        )
        for n, lr in ((12, 60.0), (16, 60.0))
    ]
    store = write_store(tmp_path / "store", specs)
    frozen = [store.records(key)["nonfinite_step"] for key in store.runs()["run_key"]]
    assert (np.concatenate(frozen) >= 0).any(), "nothing failed in this test"
    drawn = find_drawings(store)
    assert drawn
    for drawing in drawn:
        drawing.draw()


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="name another folder") as error:
        draw_figures(store, tmp_path / "file")
    assert "\n" not in str(error.value)


def test_figures_are_found_without_torch_pandas_and_xarray_or_matplotlib(store):
    program = (
        "import sys, birthmark as bm, birthmark.report; "
        "from birthmark.figures import draw_survey; "
        "assert draw_survey(bm.read_survey(bm.open_store(sys.argv[1]))).drawings; "
        "heavy = ('torch', 'pandas', 'xarray', 'matplotlib', 'matplotlib.pyplot'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(store.path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux copies processes")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_drawings_of_processes_that_are_ended_are_made_all_the_same(
    monkeypatch, number
):
    """As by a system without memory, or by a Ctrl-C that the command ignores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    here, before = os.getpid(), signal.getsignal(signal.SIGINT)

    def make(drawing):
        if os.getpid() != here and drawing == "b":
            os.kill(os.getpid(), number)
        return drawing * 2, os.getpid() == here

    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        made = make_each(make, "abc", formats=["png"], apart=True)
    finally:
        signal.signal(signal.SIGINT, before)
    # those that ignore it, as they should, have made all of them apart
    ignored = number == signal.SIGINT
    assert made == [(two, not ignored) for two in ("aa", "bb", "cc")]
