"""An object with `predict` of no known framework: its class as code, and what it holds as a file.

What it holds is stored by skops, which takes arrays, plain values and other objects, and runs nothing but the
classes that are named; the object's own class needs no naming, as it was passed. Its `predict` gets what the
samples are: an array, or a data frame.
"""

from __future__ import annotations

import inspect
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lading.convert.open import framework_of
from lading.convert.table import Table
from lading.errors import ConverterFailed, InvalidSetting, SamplesRefused, one_line
from lading.pack.code_files import code_of_class, code_of_type, imports_of
from lading.pack.python_models import OwnCode, PythonModel, answers_by_name, is_code, title_of
from lading.pack.stored_estimator import StoredFile, store_object
from lading.signature import Array


def is_object(thing: Any) -> bool:
    """Return whether `thing` predicts, and is neither code nor a model of a framework."""
    if inspect.isclass(thing) or is_code(thing) or framework_of(thing) is not None:
        return False
    return callable(getattr(thing, "predict", None))


def object_model(thing: Any, table: Table, own: OwnCode) -> PythonModel:
    """Return an object as a model that is asked rows such as those of `table`.

    Raises `ConverterFailed` if its class or what it holds cannot be taken along, `SamplesRefused`.
    """
    title = title_of(thing)
    if own.files:
        raise InvalidSetting(
            f"`files` of the object `{title}`",
            expected="a class, which loads them by `load(files)`",
            found="an object, which has loaded them",
        )
    if table.kind == "named":
        raise SamplesRefused(
            f"samples of `{title}`",
            expected="an array or a data frame, as its `predict` takes it",
            found="arrays by name",
            hint="pack a function or a class, which can take several inputs by name",
        )
    kept, modules = _stored_with_code(thing, own)
    # In their order: a data frame with its columns in another order is another one.
    columns = list(table.arrays) if table.kind == "frame" else None
    settings: dict[str, Any] = {"call": {"predict": []}}
    if columns is not None:
        settings["columns"] = columns
    files: dict[str, bytes | Path] = {**kept.with_settings(settings), **modules}
    return PythonModel(
        title=title,
        framework=f"Python {platform.python_version()}",
        entry=f"lading:{kept.kind}",
        steps=("predict",),
        files=files,
        imports=kept.imports | imports_of(files) | ({"pandas"} if columns is not None else set()),
        answer=lambda rows, _: _asked(thing, rows, title),
        purpose="prediction",
    )


def _stored_with_code(thing: Any, own: OwnCode) -> tuple[StoredFile, dict[str, bytes]]:
    """Return what the object holds, and the modules of its class and of the types in it."""
    kind, more = type(thing), own.modules()
    # A pickle names the class where it is: in a script, no other process would look for it.
    code = None if own.allow_pickle else code_of_class(kind, more)
    module = kind.__module__ if code is None else code.entry.partition(":")[0]
    name = f"{module}.{kind.__qualname__}"
    with _called(kind, module):
        kept = store_object(
            thing, title_of(thing), trust_types=(*own.trust_types, name), allow_pickle=own.allow_pickle
        )
    modules = {} if code is None else dict(code.modules)
    for other in set(kept.types) - ({name} if code is not None else set()):
        modules.update(code_of_type(other, more))
    return kept, modules


@contextmanager
def _called(kind: type, module: str) -> Iterator[None]:
    """Let a class be one of `module`, where the bundle has it, while it is stored: scripts have no module."""
    own = kind.__module__
    if own == module:  # Of a class in C it could not be set.
        yield
        return
    kind.__module__ = module
    try:
        yield
    finally:
        kind.__module__ = own


def _asked(thing: Any, table: Table, title: str) -> dict[str, Array]:
    try:
        answer = thing.predict(table.framework_rows())
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ConverterFailed(f"`{title}`", expected="an answer to the samples", found=reason) from error
    if isinstance(answer, Mapping) and not answer:
        raise ConverterFailed(f"`{title}`", expected="outputs by name", found="none")
    return answers_by_name(answer)
