"""The lowest versions that pyproject.toml claims, as constraints for pip.

    python tools/lowest_versions.py > constraints.txt

torch is left out: its lowest version has no wheels for newer interpreters, and what was
run of it stands in the docs.
"""

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = ("export", "sql")  # those that the tests use where there is no framework
# matplotlib's and typer's own calls of newer ones warn, which is an error in tests
OLD_TOO = ("pyparsing<3.2.4", "click<8.3")
CLAIM = re.compile(r"(?P<name>[A-Za-z0-9._-]+)>=(?P<version>[0-9.]+)")


def main() -> None:
    """Print a line a dependency."""
    claims = [*PROJECT["project"]["dependencies"]]
    for extra in EXTRAS:
        claims += PROJECT["project"]["optional-dependencies"][extra]
    for claim in claims:
        found = CLAIM.match(claim)
        assert found, f"no lowest version in {claim!r}"
        print(f"{found['name']}=={found['version']}")
    print(*OLD_TOO, sep="\n")


if __name__ == "__main__":
    main()
