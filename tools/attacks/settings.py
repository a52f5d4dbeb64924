"""Settings and grids that nobody meant."""

import random
import string
from collections.abc import Iterator
from pathlib import Path

import birthmark as bm
from attacks.draws import Try
from birthmark.spec import RunSpec
from birthmark.spec.files import parse_setting
from spec_fields import FIELDS

VALUES = ["1e300", "-1", "0", "nan", "true", "[]", "{}", "1979-05-27", "9" * 400]
VALUES += ["2", "0.1", "[8, 8]", '"adam"', "false", '"mnist"', "3"]
VALUES += ['"every"', "[[1]]", '"\\u0000"', "[0, 1e12]", '"../.."', "inf", '"relu"']


def settings(draw: random.Random, folder: Path) -> Iterator[Try]:
    """A spec with some fields set to what they were not made for."""

    def attempt() -> bool:
        given = (
            f"{draw.choice(FIELDS)}={draw.choice(VALUES)}"
            for _ in range(draw.randint(1, 3))
        )
        spec = RunSpec(data={"name": "digits"})
        spec = spec.with_settings(dict(map(parse_setting, given)))
        return len(spec.run_key) == 16

    while True:
        yield attempt


def grids(draw: random.Random, folder: Path) -> Iterator[Try]:
    """A file of a grid whose tables, keys and expressions are shuffled or mangled."""
    path = folder / "grid.toml"
    good = ["[spec.data]", 'name = "digits"', "[spec.training]", "epochs = 5"]
    good += [
        "[grid.product]",
        '"run.seed" = { seeds = 3 }',
        '"training.momentum" = [0.5, 0.9]',
    ]
    good += ["[grid.zip]", '"network.widths" = [[8, 8], [9, 9]]', "[[grid.list]]"]
    good += ["[grid.derive]", '"training.lr" = "3.2 / widths[0]"']
    bad = ['where = "lr ** 9 ** 9 < 1"', '"training.lr" = "__import__(1)"', "[grid]"]
    bad += ['"run.seed" = { seeds = 1e9 }', '"network.widths" = [[8, 8], 3]']

    def attempt() -> bool:
        lines = [line for line in good if draw.random() < 0.95]
        if draw.random() < 0.3:
            lines.insert(draw.randrange(len(lines) + 1), draw.choice(bad))
        text = "\n".join(lines)
        if draw.random() < 0.5:
            at = draw.randrange(len(text))
            text = text[:at] + draw.choice(string.printable) + text[at + 1 :]
        path.write_text(text)
        return all(len(spec.run_key) == 16 for spec in bm.Grid.from_toml(path))

    while True:
        yield attempt
