"""What pages fold away, and what they give as files."""

import csv
import io

from birthmark_experiments.downloads import Downloads, count_words

TABLE = "\nBefore.\n\n| a | `b` |\n|---|--:|\n| 1 | **2** |\n| x, y | – |\n\nAfter.\n"


def test_a_table_becomes_a_file_and_a_link():
    found = Downloads("claims")
    text = found.file("all", "All numbers", lambda: TABLE)
    assert "| 1 |" not in text
    assert text.startswith("Before.")
    assert "[All numbers](tables/claims-all.csv) (CSV, 2 rows)." in text
    rows = list(csv.reader(io.StringIO(found.files["tables/claims-all.csv"])))
    assert rows == [["a", "b"], ["1", "2"], ["x, y", "–"]]


def test_numbers_become_a_file_with_four_digits():
    found = Downloads("claims")
    found.rows("p", "All", [{"n": 3, "p": 0.0123456}, {"n": 4, "p": float("nan")}])
    assert found.files["tables/claims-p.csv"] == "n,p\n3,0.01235\n4,\n"


def test_what_is_folded_is_not_counted():
    folded = Downloads("x").fold("How", lambda: "\n" + TABLE)
    assert folded.startswith("<details><summary>How</summary>\n\n")
    assert count_words(f"One two.\n\n{folded}\nthree") == 3
