"""What stands in the menus: pages by the page under which they stand, in this order.

The prose of `docs/` is plain Markdown, also for readers of the repository; the menus
are added where the site is put together.
"""

import re

CONTENTS: dict[str, tuple[str, ...]] = {
    "index": (
        *("start/index", "tutorials/index", "how-to/index", "reference/index"),
        *("concepts/index", "Answers <experiments/README>"),
        *("The paper <paper/index>", "project/index"),
    ),
    "start/index": ("install", "practitioner", "researcher", "student"),
    "reference/index": ("api", "commands", "spec", "grid", "records", "findings"),
    "concepts/index": ("*", "../glossary", "../internals"),
    "experiments/README": ("*",),
    "paper/index": ("*",),
    "project/index": (
        *("changelog", "contributing", "walks", "tested-with", "securit*"),
        *("benchmarks/NOTES", "benchmarks/results/*"),
    ),
}


def add_menu(page: str, text: str) -> str:
    """The text of a page with the menu of those that stand under it."""
    entries = CONTENTS.get(page, ())
    if page == "how-to/index":  # its table is the menu
        entries = tuple(re.findall(r"\]\(([^)]+)\.md\)", text))
    if not entries:
        return text
    return "\n".join(
        [text, "```{toctree}", ":hidden:", ":glob:", "", *entries, "```", ""]
    )
