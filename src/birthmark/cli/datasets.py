"""Commands for data sets: list, fetch, import, verify."""

import json
from pathlib import Path
from typing import Annotated

import typer

data = typer.Typer(help="Data sets: what is here, fetch, import, verify.")

NameArgument = Annotated[str, typer.Argument(help="Name of the data set.")]


@data.command("list")
def list_them(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the data sets and whether they are here.

    Example: `birthmark data list`
    """
    from birthmark.cli.tables import print_rows
    from birthmark.data import list_datasets

    found = list_datasets()
    if as_json:
        rows = [
            {"name": one.name, "here": one.is_here, "missing": one.missing}
            for one in found
        ]
        print(json.dumps(rows, indent=2))
        return
    print_rows(
        ["name", "train", "test", "classes", "pixels", "here", "licence"],
        [
            [
                one.name,
                f"{one.num_train:,}",
                f"{one.num_test:,}",
                str(one.num_classes),
                "x".join(str(side) for side in one.image_shape),
                "yes" if one.is_here else "no",
                one.licence,
            ]
            for one in found
        ],
    )


@data.command()
def fetch(name: NameArgument) -> None:
    """Download a data set into the cache, checksums verified.

    Example: `birthmark data fetch mnist`
    """
    from birthmark.data import fetch_dataset

    one = fetch_dataset(name, progress=True)
    _say_files(f"{name} is here", one.files)


@data.command("import")
def import_it(
    name: NameArgument,
    path: Annotated[Path, typer.Argument(help="The original file, or its folder.")],
) -> None:
    """Import a data set from files that are already on this machine.

    Example: `birthmark data import hasyv2 HASYv2.tar.bz2`
    """
    from birthmark.data import import_dataset

    import_dataset(name, path)
    print(f"{name} imported from {path} into the cache")


@data.command()
def verify(name: NameArgument) -> None:
    """Read a data set and check all its checksums.

    Example: `birthmark data verify mnist`
    """
    from birthmark.data import verify_dataset

    found = verify_dataset(name)
    print(
        f"{name}: {found.num_train:,} training and {found.num_test:,} test examples, "
        f"content sha256 {found.checksum}"
    )


def _say_files(what: str, files: tuple[Path, ...]) -> None:
    places = sorted({str(file.parent) for file in files})
    print(f"{what}: {', '.join(places) or 'embedded'}")
