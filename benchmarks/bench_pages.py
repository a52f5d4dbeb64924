"""How quick the pages are in a real browser: live page and explorer.

`python benchmarks/bench_pages.py` prints three figures: until 200 runs are listed, the
longest frame while 20 runs are drawn over each other and flushed twice a second, and
the epochs a second of the explorer at width 64.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

TESTS = Path(__file__).parent.parent / "tests"
sys.path.insert(0, str(TESTS))

import pages_store  # noqa: E402 - the tests' helpers
from birthmark.explorer import write_explorer  # noqa: E402
from birthmark.store import open_store  # noqa: E402
from browser import chromium, open_page  # noqa: E402
from pages_server import Server  # noqa: E402

RUNS, LIVE, SECONDS = 200, 20, 20.0
FRAMES = """() => {
  window.frames = []; window.tasks = [];
  let last = performance.now();
  const tick = (now) => {
    frames.push(now - last);
    last = now;
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
  const note = (found) => tasks.push(...found.getEntries().map((one) => one.duration));
  new PerformanceObserver(note).observe({ entryTypes: ["longtask"] });
}"""
LISTED = """window.listed = new Promise((done) => {
  const drawn = () => requestAnimationFrame(() => done(performance.now()));
  const look = () => document.querySelectorAll("tbody tr").length >= 200
    ? drawn() : requestAnimationFrame(look);
  look();
})"""  # in the page from its first moment: what the test itself takes is no part of it


def write_live(path: str) -> None:
    """Epochs of all live runs, twice a second, until the parent ends this process."""
    store = open_store(path)
    specs = [pages_store.make_spec(seed=seed, epochs=10_000) for seed in range(LIVE)]
    runs = [store.start_run(spec) for spec in specs]
    for spec, run in zip(specs, runs, strict=True):
        run.load_checkpoint()
        run.save_manifest(pages_store.FACTS)
        for epoch in range(100):
            pages_store.append(run, spec, epoch)
        run.flush()
    print("begun", flush=True)
    for epoch in range(100, 10_000):
        begun = time.monotonic()
        for spec, run in zip(specs, runs, strict=True):
            pages_store.append(run, spec, epoch)
            run.flush()
        time.sleep(max(0.0, 0.5 - (time.monotonic() - begun)))


def time_list(browser: object, folder: Path) -> list[float]:
    """Milliseconds from the page's request to 200 rows laid out, of seven visits."""
    for number in range(RUNS):
        width, lr = (8, 16, 32, 64)[number % 4], (0.03, 0.1, 0.3, 1.0)[number // 50]
        spec = pages_store.make_spec(width, lr, number, 20)
        pages_store.write_run(folder, spec)
    server = Server(folder).start()
    with open_page(browser, viewport={"width": 1200, "height": 900}) as page:
        page.goto(server.door)
        page.wait_for_timeout(30_000)  # until all records have been read
        page.add_init_script(LISTED)
        found = []
        for _ in range(7):
            page.goto(server.address)
            found.append(page.evaluate("window.listed"))
            page.wait_for_timeout(500)
    server.stop()
    return found


def time_frames(browser: object, folder: Path) -> tuple[float, float, int]:
    """Longest frame and longest task in ms, and updates, of the live comparison."""
    open_store(folder, create=True)
    writer = subprocess.Popen(
        [sys.executable, __file__, "--write", folder], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    server = Server(folder).start()
    keys = [
        pages_store.make_spec(seed=seed, epochs=10_000).run_key for seed in range(LIVE)
    ]
    with open_page(browser, viewport={"width": 1200, "height": 900}) as page:
        page.goto(server.door)
        page.goto(f"{server.address}/#/runs/{','.join(keys)}")
        page.locator(".uplot").first.wait_for()
        page.wait_for_timeout(5000)
        page.evaluate(FRAMES)
        before = page.locator("td progress").first.get_attribute("value")
        page.wait_for_timeout(SECONDS * 1000)
        after = page.locator("td progress").first.get_attribute("value")
        frames, tasks = page.evaluate("[window.frames, window.tasks]")
    writer.kill()
    writer.communicate()
    server.stop()
    return max(frames), max(tasks, default=0.0), int(float(after) - float(before))


def time_explorer(browser: object, folder: Path) -> float:
    """Epochs a second of the explorer as it opens: width 64, two hidden layers."""
    page_file = write_explorer(folder / "explorer.html")
    with open_page(browser) as page:
        page.goto(page_file.as_uri())
        page.locator("#train").click()
        page.wait_for_timeout(1000)
        first, begun = int(page.locator("#epoch").inner_text()), time.monotonic()
        page.wait_for_timeout(2000)
        last, spent = int(page.locator("#epoch").inner_text()), time.monotonic() - begun
    return (last - first) / spent


def main() -> None:
    """Measure all three, and say how busy the machine was."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # no disk to wait for
    with tempfile.TemporaryDirectory(dir=memory) as folder, chromium() as browser:
        print(f"{os.cpu_count()} cores, load before: {os.getloadavg()[0]:.1f}")
        print(
            f"explorer: {time_explorer(browser, Path(folder)):.1f} epochs/s, width 64"
        )
        frame, task, epochs = time_frames(browser, Path(folder) / "live")
        print(
            f"{LIVE} live runs over each other: longest frame {frame:.0f} ms, longest "
            f"task {task:.0f} ms; {epochs / SECONDS:.1f} epochs/s drawn"
        )
        listed = time_list(browser, Path(folder) / "many")
        each = ", ".join(f"{ms:.0f}" for ms in listed)
        print(f"{RUNS} runs listed after {median(listed):.0f} ms ({each})")
        print(f"load after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", help="only train into this store, as a live run")
    chosen = parser.parse_args()
    if chosen.write:
        write_live(chosen.write)
    else:
        main()
