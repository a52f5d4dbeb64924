"""Docstrings of the library as reStructuredText."""

import re

_STAR = re.compile(r"(?<![`*\w])\*(?=[a-z])")  # of `[out, in, *kernel]`, no emphasis
_SECTION = re.compile(r"(Args|Returns|Yields|Raises|Attributes):$")


def mark_code(app, what, name, obj, options, lines):
    """Say that an indented piece before the sections is code, as readers take it."""
    out, ended, inside = [], False, False
    for line in lines:
        ended = ended or bool(_SECTION.match(line))
        indented = line.startswith("    ")
        if indented and not inside and not ended and out and not out[-1].strip():
            out += [".. code-block:: python", ""]
            inside = True
        elif line.strip() and not indented:
            inside = False
        out.append(line if inside else _STAR.sub(r"\\*", line))
    lines[:] = out
