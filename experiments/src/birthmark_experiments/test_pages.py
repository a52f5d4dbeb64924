"""Pages are read in five minutes each: what is unfolded on all of them is counted."""

import re

import pytest

from birthmark_experiments.downloads import count_words
from birthmark_experiments.pages import DOCS

MOST = 15_000  # words that a reader meets without opening anything, over all pages
PAGES = sorted([*DOCS.glob("paper/*.md"), *DOCS.glob("experiments/*.md")])


def test_all_pages_together_are_short():
    words = {page.name: count_words(page.read_text()) for page in PAGES}
    assert sum(words.values()) <= MOST, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_its_protocol_once_at_most(page):
    """Captions do not repeat it, and what is folded is closed again."""
    text = page.read_text()
    assert text.count("Protocol: ") <= 1
    assert text.count("<details>") == text.count("</details>")
    for link in re.findall(r"\]\((tables/[^)]+)\)", text):
        assert (page.parent / link).exists(), link
