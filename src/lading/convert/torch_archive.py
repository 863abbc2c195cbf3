"""Files of exported programs (``.pt2``), read so that nothing in them is executed.

`torch.export.load` unpickles what an archive asks for, evaluates sizes as expressions of Python, and resolves
operators by any path below `torch`. An archive that needs more than tensors, sizes and operators is refused.
"""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lading.errors import ConverterFailed, one_line

_ONLY_TENSORS = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # of torch's own: `torch.load` then makes tensors alone
# `Symbol('s31', positive=True, integer=True)`, `2*s0 + 1`: no attribute, no text, no function of Python's.
_SIZE = re.compile(
    r"(?:'[a-z]+\d+'|(?:positive|nonnegative|integer)=True|[A-Z]\w*|[a-z]+\d+|\d+|[-+*/%(), <>=&|])*"
)
_OPERATOR = re.compile(
    r"torch\.ops\.(?!load_library)\w+\.\w+(?:\.\w+)?|_operator\.\w+|math\.\w+|torch\._?sym_\w+"
)
_CODE = ("data/aotinductor/", "data/custom_objs/", "data/constants/custom_obj", "data/constants/opaque_obj")
_HINT = "save it again here with `torch.export.save`, of tensors only, or pack the object: `module:object`"


def load_program(path: Path) -> Any:
    """Return the `ExportedProgram` in a file; raises `ConverterFailed`."""
    if not path.is_file():
        raise _refused(path, "no such file", None)
    try:
        with zipfile.ZipFile(path) as archive:
            _check(path, archive)
    except (zipfile.BadZipFile, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _refused(path, one_line(error), None) from error
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with _only_tensors(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(path)
    except Exception as error:  # torch, its pickle and its JSON share no base
        raise _refused(path, f"{type(error).__name__}: {one_line(error)}", _HINT) from error
    finally:
        logging.disable(disabled)


def _check(path: Path, archive: zipfile.ZipFile) -> None:
    for name in archive.namelist():
        inner = name.partition("/")[2]
        if inner.startswith(_CODE) or name.endswith((".so", ".py", ".cubin")):
            raise _refused(path, f"`{name}`, which is code or an object of Python's", _HINT)
        if not name.endswith(".json"):
            continue
        for key, value in _entries(json.loads(archive.read(name).decode())):
            if key == "use_pickle" and value:
                raise _refused(path, f"a pickle, named in `{name}`", _HINT)
            if key == "expr_str" and not _SIZE.fullmatch(str(value)):
                raise _refused(path, f"a size that is code: `{str(value)[:80]}`", _HINT)
            if key == "target" and isinstance(value, str) and "." in value and not _OPERATOR.fullmatch(value):
                raise _refused(path, f"an operator that is no operator of PyTorch: `{value[:80]}`", _HINT)


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Return every key with its value, however deep."""
    parts = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            yield from part.items()
            parts += part.values()
        elif isinstance(part, list):
            parts += part


@contextmanager
def _only_tensors() -> Iterator[None]:
    before = os.environ.get(_ONLY_TENSORS)
    os.environ[_ONLY_TENSORS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ONLY_TENSORS]
        else:
            os.environ[_ONLY_TENSORS] = before


def _refused(path: Path, found: str, hint: str | None) -> ConverterFailed:
    return ConverterFailed(f"`{path}`", expected="an exported program of PyTorch", found=found, hint=hint)
