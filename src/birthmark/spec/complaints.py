"""What pydantic found wrong with a spec, said in one line."""

import re

from pydantic import BaseModel, ValidationError

from birthmark.errors import shorten, unknown_name


def in_one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """One thing that is wrong: dotted key, what came, what is wanted."""
    # in a union the deepest complaint is about the branch that was meant
    first = max(error.errors(), key=lambda one: len(one["loc"]))
    # a union adds its branch (a type's name) to the path: not a key of the user's, who
    # may have written brackets into one that is unknown
    own = len(first["loc"]) - 1 if first["type"] == "extra_forbidden" else None
    path = [
        str(part)
        for place, part in enumerate(first["loc"])
        if place == own or not re.search(r"[\[\(]", str(part))
    ]
    key = ".".join(path)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, path[:-1])
        hint = str(unknown_name("key", path[-1], known)) if known else "unknown key"
        return f"{key}: {hint}{more}"
    if first["type"] == "missing":
        return f"{key}: this key is required and missing{more}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if not key:
        return message + more
    return f"{key}: {message}, got {shorten(first['input'])}{more}"


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    for name in path:
        field = model.model_fields.get(name)
        kinds = (
            [field.annotation, *getattr(field.annotation, "__args__", ())]
            if field
            else []
        )
        parts = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
        if not parts:
            return []
        model = parts[0]
    return list(model.model_fields)
