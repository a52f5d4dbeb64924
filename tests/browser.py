"""A real browser for the tests of pages: Debian's Chromium, or the one in CHROMIUM."""

import os
import shutil
from contextlib import contextmanager

import pytest


@contextmanager
def chromium():
    """A browser that is closed at the end; the test is skipped where there is none."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not path:
        pytest.skip("needs chromium: apt-get install chromium, or name it in CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@contextmanager
def open_page(browser, *, complaints=True, **options):
    """A page in a context of its own, in which no script fails and nothing is logged.

    That is not looked at without `complaints`: a browser logs requests that fail.

    `page.requests` has the addresses of all that it asked for.
    """
    context = browser.new_context(**options)
    page = context.new_page()
    heard, page.requests = [], []
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("console", lambda message: heard.append(message.text))
    page.on("request", lambda request: page.requests.append(request.url))
    yield page
    context.close()
    assert not (complaints and heard), heard
