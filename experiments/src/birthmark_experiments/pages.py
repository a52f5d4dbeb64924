"""Write the pages that state measured numbers, each number from the shipped records.

A page is a template, `page.md.j2` of a question or one of `paper/pages`, filled with
facts:

    facts        of the experiment that has the name of the page
    experiments  of any experiment, by name
    paper        of the shipped runs of the paper's protocol
    drawings     of these runs, by the number of the figure in the paper
    claims       the table of the claims, from `paper/registry.py` and records
    questions    all experiments: name, question, and the page that answers it
    keras        what `keras/measure*.py` found: steps, trainings, wide

What is long is folded or given as a file (`downloads.py`).

    python -m birthmark_experiments.pages                     write all, and pictures
    python -m birthmark_experiments.pages NAME ...            these, or a folder
    python -m birthmark_experiments.pages --text              without the pictures
    python -m birthmark_experiments.pages --check             compare: exit 1 or 0
    python -m birthmark_experiments.pages --ship FOLDER NAME  results measured in FOLDER
"""

from __future__ import annotations

import argparse
import difflib
import functools
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from birthmark.figures import Drawing, find_drawings
from birthmark.store import load_results, open_shipped, save_results
from . import experiment_names, find_experiment, shipped_results
from .downloads import Downloads
from .frame import Facts, draw_experiment
from .keras import facts, figure
from .paper.claims import VERDICTS
from .paper.facts import describe_marked, describe_paper
from .paper.registry import (
    is_close,
    join_claims,
    list_evidence,
    list_rows,
    list_verdicts,
)

if TYPE_CHECKING:
    import xarray as xr


HERE = Path(__file__).parent
DOCS = HERE.parents[2] / "docs"
PICTURES = {
    "near-the-start": ["near-the-start", "near-the-start-unstable"],
    "sharpness": ["sharpness", "sharpness-paper"],
    "untrainability": [
        *("abandonment", "rescue"),
        *("who-is-abandoned", "hardest-left-out"),
    ],
}  # pages of several


class Lazy(Mapping[str, Any]):
    """Facts by name, computed when they are first asked for."""

    def __init__(self, names: list[str], find: Callable[[Any], Any]) -> None:
        self._names, self._find = names, functools.cache(find)

    def __getitem__(self, name: Any) -> Any:
        return self._find(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def summarize(name: str) -> Facts:
    """The facts of an experiment."""
    return find_experiment(name).summarize(shipped_results(name))


def find_templates(names: list[str]) -> list[Path]:
    """Templates of these pages, or of all."""
    found = sorted(HERE.rglob("*.md.j2"))
    known: dict[str, list[Path]] = {}
    for path in found:
        page = find_page(path)
        known.setdefault(page.parent.name, []).append(path)
        known.setdefault(page.stem, []).append(path)
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"no template for {', '.join(unknown)}: there are {', '.join(known)}")
    return [path for name in names for path in known[name]] if names else found


def render(template: Path, sources: Mapping[str, Any]) -> dict[Path, str]:
    """The page that a template gives, and its files; an unknown name is an error."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page = find_page(template)
    name, own = page.stem, {}
    if name in experiment_names():
        own = {"facts": sources["experiments"][name]}
    found = Downloads(name)
    doors = {"fold": found.fold, "file": found.file, "rows": found.rows}
    filled = environment.from_string(template.read_text(encoding="utf-8"))
    text = filled.render(**sources, **own, **doors)
    return {page: text} | {page.parent / n: x for n, x in found.files.items()}


def find_page(template: Path) -> Path:
    """Where the page of a template lies."""
    folder = template.parent.name
    if folder == "pages":
        return DOCS / "paper" / template.with_suffix("").name
    if folder == "frame":
        return DOCS / "experiments" / "README.md"
    # the first of the questions that a page gathers has its template
    name = "untrainability" if folder == "abandonment" else folder.replace("_", "-")
    return DOCS / "experiments" / f"{name}.md"


def find_differences(template: Path, sources: Mapping[str, Any]) -> list[str]:
    """Lines in which a page, or a file of it, is not what the records say."""
    found: list[str] = []
    for path, due in render(template, sources).items():
        written = path.read_text().splitlines() if path.exists() else []
        name = str(path.relative_to(DOCS.parent))
        found += difflib.unified_diff(
            written, due.splitlines(), name, "records", lineterm="", n=0
        )
    return found


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="pages; all unless named")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    parser.add_argument("--text", action="store_true", help="without the pictures")
    parser.add_argument("--ship", type=Path, help="folder with results to ship")
    chosen = parser.parse_args()
    if chosen.ship:
        [name] = chosen.names
        results, manifest = load_results(chosen.ship)
        asked, found = (name, "full"), (manifest["experiment"], manifest["scale"])
        if found != asked:
            sys.exit(f"{chosen.ship} holds {found}, not {asked}")
        save_results(HERE / name.replace("-", "_"), results, manifest)
    sources = find_sources()
    differences: list[str] = []
    for template in find_templates(chosen.names):
        if chosen.check:
            differences += find_differences(template, sources)
            continue
        for path, text in render(template, sources).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(path)
        if not chosen.text:
            draw_pictures(find_page(template).stem)
    if differences:
        sys.exit("\n".join(differences))


def find_sources() -> dict[str, Any]:
    """What templates may name."""
    return {
        "experiments": Lazy(experiment_names(), summarize),
        "paper": Lazy([], lambda name: paper_facts()[name]),
        "claims": Lazy([], lambda name: claim_facts()[name]),
        "drawings": Lazy([], lambda number: paper_drawings()[number]),
        "keras": Lazy([], lambda name: getattr(facts, f"describe_{name}")()),
        "questions": [
            (name, find_experiment(name).question, find_gathering(name))
            for name in experiment_names()
        ],
    }


def find_gathering(name: str) -> str:
    """The page that answers the question of an experiment, alone or among others."""
    return next((page for page, names in PICTURES.items() if name in names), name)


@functools.cache
def paper_facts() -> dict[str, Any]:
    """What the shipped runs of the paper's protocol say, and those of Figure 1."""
    marked = describe_marked(open_shipped("figure_1"))
    return describe_paper(open_shipped("paper")) | marked


@functools.cache
def claim_facts() -> dict[str, Any]:
    """The table of the claims, and every number behind it."""
    names = {"hasyv2": "near-the-start-unstable", "mnist": "near-the-start"}
    near = {data: summarize(name)["claims"] for data, name in names.items()}
    tests = join_claims(paper_facts()["tests"], near)
    return {
        "names": list(tests),
        "rows": list_rows(tests),
        "said": {one: list_verdicts(tests, one) for one in VERDICTS},
        "evidence": list_evidence(tests),
        "is_close": is_close,
    }


@functools.cache
def paper_drawings() -> dict[int, list[Drawing]]:
    """The figures of the paper, 1 ... 6, from the shipped runs.

    Of Figure 1 those of networks of its own widths come last.
    """
    found: dict[int, list[Drawing]] = {number: [] for number in range(1, 7)}
    for name, numbers in (("paper", found), ("figure_1", (1,))):
        for drawing in find_drawings(open_shipped(name), axis="width", series=""):
            if drawing.number in numbers:
                found[drawing.number].append(drawing)
    return found


def draw_pictures(page: str) -> None:
    """The figures of the experiments of a page, or of the figure of the paper."""
    for name in PICTURES.get(page, [page]):
        if name in experiment_names():
            save_picture(draw_experiment(name, shipped_results(name)), "experiments")
    if page == "keras":
        save_picture(figure.draw(), "experiments")
    if page.startswith("figure"):
        for drawing in paper_drawings()[int(page.removeprefix("figure"))]:
            save_picture(drawing, "paper")


def save_picture(drawing: Drawing, folder: str) -> None:
    """Write a drawing for the pages of a folder."""
    path = DOCS / "images" / folder / f"{drawing.name}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(drawing.render("svg", opaque=True))


if __name__ == "__main__":
    main()

_ANSWER = r"^## The short answer\n(.*?)(?=^## |\Z)"
_SECTION = re.compile(_ANSWER, re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
_PICTURE = re.compile(r"^!\[.*\n?", re.MULTILINE)


def say_answer(name: str, results: xr.Dataset | None = None) -> str:
    """The short answer of a question's page as plain text, and where the rest stands.

    From the shipped results, or from what was measured anew at the full scale.
    """
    sources = find_sources()
    if results is not None:
        own = find_experiment(name).summarize(results)
        sources["experiments"] = Lazy(
            experiment_names(), lambda one: own if one == name else summarize(one)
        )
    page_name = find_gathering(name)
    [template] = find_templates([page_name])
    page = render(template, sources)[find_page(template)]
    [answer] = _SECTION.findall(page)
    plain = _LINK.sub(r"\1", _PICTURE.sub("", answer)).replace("**", "").strip()
    where = f"docs/experiments/{page_name}.md of the checkout"
    return f"{plain}\n\nProtocol, tables and theory: {where}"
