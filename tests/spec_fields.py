"""The dotted names of all fields of a spec."""

from birthmark.spec import RunSpec

FIELDS = [
    f"{table}.{name}"
    for table, field in RunSpec.model_fields.items()
    for kind in [field.annotation, *getattr(field.annotation, "__args__", ())]
    if hasattr(kind, "model_fields")
    for name in kind.model_fields
]
