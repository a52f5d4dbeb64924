"""Write the pages that state measured numbers, each number from the shipped records.

A page is a template, `templates/FOLDER/NAME.md.j2`, filled with facts:

    facts        of the experiment that has the name of the page
    experiments  of any experiment, by name
    paper        of the shipped runs of the paper's protocol

    python docs/write_pages.py                 write all pages and their pictures
    python docs/write_pages.py NAME ...        write those
    python docs/write_pages.py --check         compare; exit 1 where a page differs
    python docs/write_pages.py --ship FOLDER NAME   ship results measured in FOLDER
"""

import argparse
import difflib
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2

import birthmark
from birthmark.experiments import experiment_names, find_experiment, shipped_results
from birthmark.figures import draw_experiment
from birthmark.store import load_results, save_results

DOCS = Path(__file__).parent
TEMPLATES = DOCS / "templates"
SHIPPED = Path(birthmark.__file__).parent / "records" / "experiments"


class Facts(Mapping[str, Any]):
    """Facts by name, computed when they are first asked for."""

    def __init__(self, names: list[str], find: Callable[[str], Any]) -> None:
        self._names, self._find = names, functools.cache(find)

    def __getitem__(self, name: str) -> Any:
        return self._find(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def summarize(name: str) -> dict[str, Any]:
    """The facts of an experiment."""
    return find_experiment(name).summarize(shipped_results(name))


def find_templates(names: list[str]) -> list[Path]:
    """Templates of these pages, or of all."""
    found = sorted(TEMPLATES.rglob("*.md.j2"))
    known = {path.name.removesuffix(".md.j2"): path for path in found}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"no template for {', '.join(unknown)}: there are {', '.join(known)}")
    return [known[name] for name in names] if names else found


def render(template: Path, sources: Mapping[str, Any]) -> str:
    """The page that a template gives; a name without a value is an error."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    name = template.name.removesuffix(".md.j2")
    own = {"facts": sources["experiments"][name]} if name in experiment_names() else {}
    return environment.from_string(template.read_text()).render(**sources, **own)


def find_page(template: Path) -> Path:
    """Where the page of a template lies."""
    return DOCS / template.relative_to(TEMPLATES).with_suffix("")


def find_differences(template: Path, sources: Mapping[str, Any]) -> list[str]:
    """Lines in which a page is not what the records say."""
    page = find_page(template)
    written = page.read_text().splitlines() if page.exists() else []
    due = render(template, sources).splitlines()
    name = str(page.relative_to(DOCS.parent))
    return list(difflib.unified_diff(written, due, name, "records", lineterm="", n=0))


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="pages; all unless named")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    parser.add_argument("--ship", type=Path, help="folder with results to ship")
    chosen = parser.parse_args()
    if chosen.ship:
        [name] = chosen.names
        results, manifest = load_results(chosen.ship)
        asked, found = (name, "full"), (manifest["experiment"], manifest["scale"])
        if found != asked:
            sys.exit(f"{chosen.ship} holds {found}, not {asked}")
        save_results(SHIPPED / name, results, manifest)
    sources = find_sources()
    differences: list[str] = []
    for template in find_templates(chosen.names):
        if chosen.check:
            differences += find_differences(template, sources)
            continue
        page = find_page(template)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(render(template, sources))
        draw_picture(page.stem)
        print(page)
    if differences:
        sys.exit("\n".join(differences))


def find_sources() -> dict[str, Any]:
    """What templates may name."""
    return {"experiments": Facts(experiment_names(), summarize)}


def draw_picture(name: str) -> None:
    """The figure of the experiment of this name, if it is one."""
    if name in experiment_names():
        drawing = draw_experiment(name, shipped_results(name))
        path = DOCS / "images" / "experiments" / f"{name}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawing.render("svg", opaque=True))


if __name__ == "__main__":
    main()
