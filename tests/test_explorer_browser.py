"""The explorer in a real browser: its numbers are the library's, its hands work."""

import json
import math
import re

import numpy as np
import pytest
from playwright.sync_api import expect

import birthmark as bm
from birthmark.analysis import REGIMES, label_regimes
from birthmark.explorer import write_explorer
from browser import chromium, open_page

pytestmark = pytest.mark.browser
EPOCHS = 5  # of 45 steps


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    return write_explorer(path).as_uri()


@pytest.fixture
def page(browser, address):
    with open_page(browser, viewport={"width": 1200, "height": 900}) as page:
        page.goto(address)
        expect(page.locator("#epoch")).to_have_text("0")
        yield page
        assert all(url.startswith(("file:", "blob:")) for url in page.requests)


def slide(page, name, place):
    """Move a slider to a place, as a hand does."""
    page.locator(f"#{name}").evaluate(
        "(slider, place) => { slider.value = place;"
        " slider.dispatchEvent(new Event('input')); }",
        place,
    )


def train(page, epochs):
    page.click("#train")
    expect(page.locator("#epoch")).to_have_text(str(epochs), timeout=60_000)
    expect(page.locator("#train")).to_have_text("Train on")


def test_hands_may_be_quicker_than_the_first_weights(browser, address):
    with open_page(browser) as page:
        page.add_init_script("window.Worker = class { postMessage() {} };")
        page.goto(address)  # a worker that never answers stands for a slow one
        slide(page, "until", 1)
        page.click("#train")
    with open_page(browser) as page:
        page.goto(address, wait_until="commit")
        page.click("#train")
        expect(page.locator("#epoch")).not_to_have_text("0", timeout=60_000)


def saved(page):
    page.locator("details").first.evaluate("one => { one.open = true; }")
    with page.expect_download() as download:
        page.click("#save")
    return json.loads(download.value.path().read_text())


@pytest.mark.parametrize(
    ("rule", "shown", "depth", "loss", "dtype"),
    [
        ("glorot_uniform", "glorot_uniform", 2, "cross_entropy", "float64"),
        ("he_uniform", "he_uniform", 3, "clipped_cross_entropy", "float64"),
        ({"name": "constant", "value": 0.5}, "half", 1, "cross_entropy", "float64"),
        ("glorot_uniform", "glorot_uniform", 2, "clipped_cross_entropy", "float32"),
    ],
)
def test_weights_after_225_steps_are_those_of_train(
    page, rule, shown, depth, loss, dtype
):
    slide(page, "until", 1)
    slide(page, "width", 3)  # 24
    slide(page, "depth", depth)
    page.select_option("#initialization", shown)
    page.select_option("#loss", loss)
    page.select_option("#dtype", dtype)
    train(page, EPOCHS)
    found = saved(page)
    assert found["step"] == 225

    layer = "hidden2" if depth > 1 else "hidden1"
    spec = bm.RunSpec(
        data={"name": "digits"},
        network={"widths": (24,) * depth},
        initialization={"name": rule} if isinstance(rule, str) else rule,
        mark={"text": "a", "layer": layer},
        training={"loss": loss, "lr": 0.1, "batch_size": 32, "epochs": EPOCHS},
        run={"replicas": 1, "seed": 0, "dtype": dtype, "device": "cpu"},
    )
    *_, end = bm.train(spec)
    # what the page prints to be run in Python is this spec
    names = {"bm": bm}
    program = page.locator("#python").text_content().partition("*_, end")[0]
    exec(program, names)
    assert names["spec"].with_settings({"run.device": "cpu"}) == spec

    tolerance = 1e-9 if dtype == "float64" else 2e-5
    assert [one["name"] for one in found["layers"]] == list(end.weights)
    for one in found["layers"]:
        wanted = end.weights[one["name"]]
        w = np.reshape(one["w"], (one["fanIn"], one["fanOut"]))
        np.testing.assert_allclose(w, wanted.w[0], rtol=0, atol=tolerance)
        np.testing.assert_allclose(one["b"], wanted.b[0], rtol=0, atol=tolerance)


@pytest.mark.parametrize(("lr", "units"), [(4, 24), (7, 24)])
def test_what_it_measures_is_what_the_library_measures(page, tmp_path, lr, units):
    slide(page, "until", 4)  # 30 epochs
    slide(page, "width", 3)
    slide(page, "lr", lr)
    train(page, 30)
    spec = bm.RunSpec(
        data={"name": "digits"},
        network={"widths": (24, 24)},
        mark={"text": "a"},
        training={
            "loss": "cross_entropy",
            "lr": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0][lr],
            "batch_size": 32,
            "epochs": 30,
        },
        run={"replicas": 1, "dtype": "float64", "device": "cpu"},
    )
    result = bm.run(spec, store=tmp_path)
    end = result.records.isel(step=-1, replica=0)
    layers = end.sel(layer="hidden2")
    percent = f"{round(100 * float(layers.mark_pooled_auc))} %"
    expect(page.locator("#retention")).to_have_text(percent)
    expect(page.locator("#units")).to_have_text(f"{units} of 24")
    assert float(layers.distinct_units) == units
    accuracy = f"{math.floor(100 * float(end.test_accuracy) + 0.5)} %"
    expect(page.locator("#accuracy")).to_have_text(accuracy)
    label = page.locator("#distance-chart").get_attribute("aria-label")
    shown = [float(text) for text in re.findall(r": ([\d.]+)", label)]
    np.testing.assert_allclose(shown, end.relative_distance, atol=5e-4)
    regime = label_regimes(result.records, spec).regime[-1, 0]
    expect(page.locator("#regime")).to_have_text(REGIMES[regime])


def test_a_mark_is_painted_by_mouse_and_keys_rubbed_out_and_carried_over(page):
    page.click("#clear")
    expect(page.locator("#retention")).to_have_text("no mark")
    box = page.locator("#matrix").bounding_box()
    middle, side = box["y"] + box["height"] / 2, box["width"]
    page.mouse.move(box["x"] + 0.2 * side, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * side, middle, steps=20)
    page.mouse.up()
    expect(page.locator("#retention")).to_have_text("100 %")

    def zeros():
        return np.reshape(saved(page)["layers"][1]["w"], (64, 64)) == 0

    drawn = zeros()
    assert drawn[32, 13:51].all()  # a horizontal line across the middle
    assert not drawn[:26].any()
    assert not drawn[38:].any()

    page.locator("#matrix").focus()
    for _ in range(12):
        page.keyboard.press("ArrowUp")
    page.keyboard.press(" ")
    assert zeros()[20, 32]
    page.click("#rub")
    page.locator("#matrix").focus()  # the cursor is in the middle again
    page.keyboard.press("ArrowUp")
    page.keyboard.press(" ")
    assert not zeros()[31, 32]

    slide(page, "width", 8)  # 128
    expect(page.locator("#units")).to_have_text("128 of 128")
    larger = np.reshape(saved(page)["layers"][1]["w"], (128, 128)) == 0
    np.testing.assert_array_equal(larger[::2, ::2], larger[1::2, 1::2])
    assert larger[64, 30:50].all()


def test_the_same_start_in_another_order_starts_the_same(page):
    slide(page, "until", 1)
    slide(page, "width", 2)
    train(page, 5)
    first = saved(page)["layers"][1]
    page.click("#order")
    expect(page.locator("#epoch")).to_have_text("5")
    second = saved(page)["layers"][1]
    assert first["w"] != second["w"]
    page.click("#reset")
    expect(page.locator("#epoch")).to_have_text("0")
    start = saved(page)["layers"][1]["w"]
    spec = bm.RunSpec(
        data={"name": "digits"},
        network={"widths": (16, 16)},
        mark={"text": "a"},
        run={"replicas": 1, "dtype": "float64"},
    )
    wanted = bm.initial_configuration(spec)["hidden2"].w[0]
    np.testing.assert_array_equal(np.reshape(start, (16, 16)), wanted)


def test_each_story_comes_to_its_end(page):
    page.emulate_media(reduced_motion="reduce")
    stories = page.locator("#stories button")
    assert stories.count() == 6
    ends = []
    for story in range(6):
        stories.nth(story).click()
        for _ in range(5):
            expect(page.locator("#story-text")).not_to_contain_text(
                "Training", timeout=110_000
            )
            if page.locator("#story-next").is_disabled():
                break
            page.click("#story-next")
        ends.append(page.locator("#story-text").inner_text())
    assert "64 distinct units" in ends[0]
    assert "high trainability" in ends[2]
    assert not any(re.search("undefined|NaN|not a number", end) for end in ends)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(browser, address, scheme):
    size = {"width": 390, "height": 844}
    with open_page(browser, viewport=size, color_scheme=scheme, has_touch=True) as page:
        page.goto(address)
        expect(page.locator("#epoch")).to_have_text("0")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        box = page.locator("#train").bounding_box()
        assert box["y"] + box["height"] < 844  # on the first screen
        page.locator("#train").tap()
        expect(page.locator("#train")).to_have_text("Pause")
