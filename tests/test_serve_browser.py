"""The live page in a real browser: every view, live, and whatever a store may hold."""

import signal
import time

import numpy as np
import pytest
from playwright.sync_api import expect

import pages_store
from birthmark.shapes import StepMetrics
from birthmark.store import RunDescription, open_store
from browser import chromium, open_page
from pages_server import Server

pytestmark = pytest.mark.browser
HOSTILE = '<img src=x onerror="document.title=1">&amp;"\u202e'
WIDTHS, LRS = (8, 32), (0.1, 1.0)


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("live") / "runs"
    for width in WIDTHS:
        for lr in LRS:
            pages_store.write_run(path, pages_store.make_spec(width, lr))
    what = RunDescription("tracked", HOSTILE, {"lr": 0.5, HOSTILE: HOSTILE})
    run = open_store(path).start_run(what)
    for step in range(30):
        loss = 2.0 * 0.9**step if step < 20 else 50.0
        run.append_metrics(StepMetrics(step, {"loss": np.array([loss])}))
    run.finish({})
    return path


@pytest.fixture(scope="module")
def server(store):
    one = Server(store).start()
    yield one
    one.stop()


@pytest.fixture
def page(browser, server):
    with open_page(browser, viewport={"width": 1200, "height": 900}) as page:
        page.goto(server.door)
        expect(page.locator("#connection")).to_have_text("live")
        yield page
        assert all(url.startswith((server.address, "data:")) for url in page.requests)


def row_of(page, key):
    return page.locator(f'tr[data-key="{key}"]')


def test_runs_are_listed_filtered_sorted_and_laid_over_each_other(page):
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(5)
    key = pages_store.make_spec(32, 1.0).run_key
    expect(row_of(page, key)).to_contain_text("32×32")
    expect(row_of(page, key)).to_contain_text("40 of 40", timeout=30_000)
    expect(row_of(page, key)).to_contain_text("strong")

    page.get_by_label("Filter").fill("lr=1")
    expect(rows).to_have_count(2)
    page.get_by_label("Filter").fill("lr=1 widths=32")
    expect(rows).to_have_count(1)
    page.get_by_label("Filter").fill("spec")
    page.get_by_role("button", name="test loss").click()
    expect(page.locator('th[aria-sort="ascending"]')).to_have_text("test loss ↑")
    column = page.locator('td[data-label="test loss"]')
    losses = [float(text) for text in column.all_inner_texts()]
    assert losses == sorted(losses)
    assert len(losses) == 4

    for number in (0, 3):
        rows.nth(number).get_by_role("checkbox").check()
    page.get_by_role("link", name="Compare 2").click()
    expect(page.locator("h2")).to_have_text("2 runs over each other")
    expect(page.locator("figure:visible")).to_have_count(6)
    expect(page.locator(".uplot")).to_have_count(6)
    page.go_back()
    expect(rows).to_have_count(4)  # the filter stays


def test_a_run_has_curves_deviation_mark_and_weights(page):
    key = pages_store.make_spec(8, 0.1).run_key
    row_of(page, key).get_by_role("link").click()
    expect(page.locator("figcaption:visible")).to_have_text(
        [
            "Loss",
            "Accuracy",
            "Distance over the norm of the start",
            "Retention of the mark (AUC: 1 perfect, 0.5 gone)",
        ]
    )
    legend = page.locator("figure", has_text="Distance over").locator(".legend")
    growth = np.log1p(40) / 8**0.5
    expect(legend).to_contain_text(f"hidden2 {growth:.3g}")
    page.get_by_label("By layer").select_option("deviation_std")
    expect(legend.or_(page.locator(".legend")).first).to_be_visible()
    expect(page.locator("figcaption", has_text="Standard deviation")).to_be_visible()

    matrix = page.locator("canvas.matrix")
    expect(matrix).to_have_attribute(
        "aria-label", "Weights of hidden2 at epoch 40, 8 by 8"
    )
    page.get_by_label("epoch", exact=True).press("ArrowLeft")
    expect(matrix).to_have_attribute(
        "aria-label", "Weights of hidden2 at epoch 20, 8 by 8"
    )
    page.get_by_text("All fields").click()
    expect(page.locator("details tr", has_text="training.batch_size")).to_contain_text(
        "128"
    )


def test_hostile_names_stay_text(page):
    page.get_by_label("Filter").fill("tracked")
    row = page.locator("tbody tr")
    expect(row).to_have_count(1)
    expect(row.get_by_role("link")).to_have_text(HOSTILE)
    row.get_by_role("link").click()
    expect(page.locator("h2")).to_have_text(HOSTILE)
    expect(page.locator(".alarms")).to_contain_text("jump of loss at step 20")
    assert page.locator("main img").count() == 0
    assert HOSTILE in page.title()
    page.goto(page.url.partition("#")[0] + "#/runs/../../etc")
    expect(page.locator("main")).to_contain_text("No run ..")
    page.goto(page.url.partition("#")[0] + "#/runs/<b>x")
    expect(page.locator("main")).to_contain_text("No run")
    assert page.locator("main b").count() == 0
    # what the page asked for in vain was refused, and it said nothing else


def test_the_phase_diagram_has_any_axes_and_leads_to_runs(page):
    page.get_by_role("link", name="Phase diagram").click()
    page.get_by_label("Across").select_option("training.lr")
    page.get_by_label("Down").select_option("network.widths")
    page.get_by_label("Shown").select_option("relative_distance")
    cells = page.locator(".map td a")
    expect(cells).to_have_count(4)
    wanted = f"{np.log1p(40) / 32**0.5:.3g}"
    expect(
        page.locator(".map tbody tr", has_text="32×32").locator("a").first
    ).to_have_text(wanted)
    page.get_by_label("Shown").select_option("learner")
    page.get_by_label("Shown").press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "A"
    page.keyboard.press("Enter")
    expect(page.locator("h2")).to_contain_text("widths 32×32, lr 0.1")


def test_runs_over_each_other_name_one_that_is_not_there(page, server):
    keys = [pages_store.make_spec(width, 0.1).run_key for width in WIDTHS]
    page.goto(f"{server.address}/#/runs/{','.join(keys)},0123abcd")
    expect(page.locator(".problem")).to_have_text("No run 0123abcd in this store.")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("tbody tr").nth(1)).to_contain_text("40 of 40")


def test_findings_are_stated_with_how_they_were_found(page):
    page.get_by_role("link", name="Findings").click()
    first = page.locator(".finding").first
    expect(first).to_be_visible(timeout=60_000)
    first.get_by_text("How this was found").click()
    expect(first.get_by_role("link")).to_be_visible()


def test_a_run_lives_and_its_killed_trainer_is_seen(browser, tmp_path):
    with pages_store.trainer(tmp_path, 7, 0.25) as trainer:
        server = Server(tmp_path).start()
        with open_page(browser) as page:
            page.goto(server.door)
            row = row_of(page, pages_store.make_spec(seed=7, epochs=10_000).run_key)
            expect(row.locator(".badge")).to_have_text("running", timeout=20_000)
            row.get_by_role("link").click()
            legend = page.locator(".legend", has_text="train loss")
            expect(legend).to_be_visible(timeout=20_000)
            texts = {legend.inner_text()}
            end = time.monotonic() + 30
            while len(texts) < 3:  # the curve goes on
                assert time.monotonic() < end
                texts.add(legend.inner_text())
                page.wait_for_timeout(200)
            expect(page.locator(".badge")).to_have_text("running")
            assert page.locator("progress").get_attribute("max") == "10000"

            trainer.send_signal(signal.SIGKILL)
            badge = page.locator(".badge")
            expect(badge).to_have_text("interrupted", timeout=20_000)
            expect(page.locator(".problem")).to_contain_text("killed")
        server.stop()


def test_the_page_comes_back_when_the_server_does(browser, store):
    server = Server(store).start()
    with open_page(browser, complaints=False) as page:
        page.goto(server.door)
        expect(page.locator("#connection")).to_have_text("live")
        server.stop()
        expect(page.locator("#connection")).to_contain_text("lost", timeout=20_000)
        server.start()
        expect(page.locator("#connection")).to_have_text("live", timeout=30_000)
        assert page.locator("tbody tr").count() >= 5
        server.stop()


def test_a_wrong_token_is_told_what_to_do(browser, server):
    with open_page(browser, complaints=False) as page:
        page.goto(f"{server.address}/?token=wrong")
        expect(page.locator("body")).to_contain_text("open the whole address")
        page.goto(f"{server.address}/page/main.js")
        expect(page.locator("body")).to_contain_text("belongs to whoever")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_fits_a_phone(browser, server, scheme):
    size = {"width": 390, "height": 844}
    key = pages_store.make_spec(8, 0.1).run_key
    other = pages_store.make_spec(32, 0.1).run_key
    with open_page(browser, viewport=size, color_scheme=scheme) as page:
        page.goto(server.door)
        for view, sign in (
            ("#/runs", "tbody tr"),
            (f"#/runs/{key}", ".uplot"),
            (f"#/runs/{key},{other}", ".uplot"),
            ("#/phase", ".map a"),
            ("#/findings", "h2"),
        ):
            page.goto(f"{server.address}/{view}")
            expect(page.locator(sign).first).to_be_visible()
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width == 390, view
