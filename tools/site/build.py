"""Put the pages of the site together, and build them: python tools/site/build.py.

The prose of `docs/`, the papers of the project, reference pages made from the code and
tutorials made from `examples/` are laid into `build/site/source`, from which Sphinx
makes `build/site/html`. A link that leads nowhere, or any other warning, is an error.
"""

import os
import re
import shutil
import sys
from pathlib import Path

from contents import add_menu

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SITE = ROOT / "build" / "site"
SOURCE = SITE / "source"
# pages of the repository that the site has as well
BESIDE = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "LICENSE": "project/LICENSE",
    "CITATION.cff": "project/CITATION.cff",
    "README.md": "index.md",
}
_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def lay_out() -> None:
    """Fill `build/site/source` anew; links lead to where the pages lie in the site."""
    for old in SOURCE.glob("*"):
        if old.name != "tutorials":  # an example that has not changed is not run again
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    examples = SITE / "examples"  # a copy, since they write where they lie
    shutil.rmtree(examples, ignore_errors=True)
    shutil.copytree(ROOT / "examples", examples)
    places = {path: path.relative_to(ROOT / "docs") for path in _files(ROOT / "docs")}
    places |= {
        ROOT / name: Path(to) for name, to in BESIDE.items() if (ROOT / name).exists()
    }
    places |= {
        path: Path("project") / path.relative_to(ROOT)
        for path in _files(ROOT / "benchmarks")
        if path.suffix in (".md", ".png")
    }
    places |= {
        path: Path("tutorials")
        / path.relative_to(ROOT / "examples").with_suffix(".rst")
        for path in _files(ROOT / "examples")
        if path.suffix == ".py"
    }
    places[ROOT / "examples"] = Path("tutorials/index.rst")
    for path, place in places.items():
        if path.name == "README.md" and place == Path("index.md"):
            continue
        if path.suffix == ".py" or path.is_dir():
            continue  # sphinx-gallery makes these
        to = SOURCE / place
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            name = place.with_suffix("").as_posix()
            to.write_text(add_menu(name, _moved(path, place, places)))
        else:
            shutil.copy(path, to)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _moved(path: Path, place: Path, places: dict[Path, Path]) -> str:
    """The text of a page with its links as they are in the site."""

    def lead(match: re.Match[str]) -> str:
        before, target, after = match.groups()
        if ":" in target:
            return match.group()
        there = (path.parent / target).resolve()
        if there in places:
            to = os.path.relpath(places[there], place.parent)
            return f"{before}{to}{after}"
        if path.parent.joinpath(target).exists():
            raise SystemExit(f"{path}: {target} is no page of the site")
        return match.group()  # a reference page, or Sphinx refuses it

    return _LINK.sub(lead, path.read_text(encoding="utf-8"))


def main() -> None:
    """Lay out, write the reference, build; the status is Sphinx's."""
    from reference import PAGES
    from sphinx.cmd.build import main as sphinx

    lay_out()
    (SOURCE / "reference").mkdir(exist_ok=True)
    for name, write in PAGES.items():
        page = add_menu(f"reference/{name}", write())
        (SOURCE / "reference" / f"{name}.md").write_text(page)
    options = ["-c", str(HERE), "-b", "html", "-W", "--keep-going", "-q"]
    sys.exit(sphinx([*options, *sys.argv[1:], str(SOURCE), str(SITE / "html")]))


if __name__ == "__main__":
    main()
