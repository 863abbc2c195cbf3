"""Display names of the classes: read, and matched with the class values that the model has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lading.errors import InvalidSetting
from lading.signature import Signature

Labels = Sequence[str] | Mapping[Any, str] | str | Path


def display_names(given: Labels | None, known: tuple[str, ...], signature: Signature) -> dict[str, str]:
    """Return display names by the text of the class value; `known` are the class values in order, if known.

    Raises `InvalidSetting`.
    """
    if given is None:
        return {}
    names = [tensor.name for tensor in signature.outputs]
    check("label" in names, "`labels`", "a model that gives a `label`", f"outputs {', '.join(names)}")
    read: Any = _read_labels(given) if isinstance(given, str | Path) else given
    if isinstance(read, Mapping):
        labels = {str(key): str(value) for key, value in read.items()}
    else:
        values = known or tuple(str(at) for at in range(len(read)))
        check(len(read) == len(values), "`labels`", f"{len(values)} names", f"{len(read)}")
        labels = {value: str(shown) for value, shown in zip(values, read, strict=True)}
    unnamed = [value for value in known if value not in labels]
    unknown = [value for value in labels if known and value not in known]
    check(not unnamed, "`labels`", f"a name for class `{unnamed[0] if unnamed else ''}`", ", ".join(labels))
    check(not unknown, "`labels`", f"the classes {', '.join(known)}", ", ".join(unknown))
    return labels


def _read_labels(path: str | Path) -> Any:
    try:
        read = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidSetting(f"labels `{path}`", expected="a JSON file", found=str(error)) from error
    shape = isinstance(read, dict | list) and all(isinstance(one, str) for one in _values(read))
    check(shape, f"labels `{path}`", "a list of names, or an object from class value to name", "other JSON")
    return read


def _values(read: Any) -> list[Any]:
    return list(read.values()) if isinstance(read, dict) else list(read)


def check(holds: bool, where: str, expected: str, found: str) -> None:
    """Raise `InvalidSetting` unless `holds`."""
    if not holds:
        raise InvalidSetting(where, expected=expected, found=found)
