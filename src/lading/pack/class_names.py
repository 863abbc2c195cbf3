"""Display names of the classes: read, and matched with the class values that the model has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lading.errors import InvalidSetting
from lading.pack.arguments import require
from lading.signature import Signature

Labels = Sequence[str] | Mapping[Any, str] | str | Path
"""Names by class value or in class order, or a JSON file of either."""


def display_names(labels: Labels | None, known: tuple[str, ...], signature: Signature) -> dict[str, str]:
    """Return display names by the text of the class value; `known` are the class values in order, if known.

    Raises `InvalidSetting`.
    """
    if labels is None:
        return {}
    outputs = [tensor.name for tensor in signature.outputs]
    require("label" in outputs, "`labels`", "a model that gives a `label`", f"outputs {', '.join(outputs)}")
    content: Any = _read_labels(labels) if isinstance(labels, str | Path) else labels
    if isinstance(content, Mapping):
        names = {str(value): str(name) for value, name in content.items()}
    else:
        # Without known class values (an ONNX file) they are taken to be 0, 1, 2, …
        values = known or tuple(str(index) for index in range(len(content)))
        require(len(content) == len(values), "`labels`", f"{len(values)} names", f"{len(content)}")
        names = {value: str(name) for value, name in zip(values, content, strict=True)}
    unnamed = [value for value in known if value not in names]
    unknown = [value for value in names if known and value not in known]
    require(not unnamed, "`labels`", f"a name for class `{unnamed[0] if unnamed else ''}`", ", ".join(names))
    require(not unknown, "`labels`", f"the classes {', '.join(known)}", ", ".join(unknown))
    return names


def _read_labels(path: str | Path) -> Any:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidSetting(f"labels `{path}`", expected="a JSON file", found=str(error)) from error
    names = content.values() if isinstance(content, dict) else content
    valid = isinstance(content, dict | list) and all(isinstance(name, str) for name in names)
    expected = "a list of names, or an object from class value to name"
    require(valid, f"labels `{path}`", expected, "other JSON")
    return content
