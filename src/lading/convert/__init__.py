"""Trained models become ONNX: what every converter offers, and which one knows a model.

A converter answers two questions and judges neither: what does the framework itself say for these rows,
and what does the model look like as ONNX. Whether both agree is proved by `lading.pack`. ML frameworks are
imported in this folder only, one file each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lading.convert.table import Table
from lading.errors import ConverterMissing
from lading.signature import Array, Signature

__all__ = ["Conversion", "Plan", "Table", "Trained", "open_model"]


@dataclass(frozen=True)
class Conversion:
    """A model as ONNX: its bytes, its signature, and whether its inputs take `Table.feed` as it is."""

    model: bytes
    signature: Signature


@dataclass(frozen=True)
class Plan:
    """One way to convert a model. ``dtype`` is that of its numbers; ``form`` says how the inputs look.

    ``convert(table, expected)`` may raise `ConversionError`; `expected` is the framework's own answer.
    """

    dtype: str
    form: str
    convert: Callable[[Table, dict[str, Array]], Conversion]


class Trained(Protocol):
    """One trained model as its own framework runs it.

    ``title`` names it in messages; ``expected_from`` says who computes `outputs`; ``packages`` are the
    distributions whose versions matter; ``class_values`` are the texts of the classes, in column order.
    """

    title: str
    framework: str
    expected_from: str
    packages: tuple[str, ...]
    class_values: tuple[str, ...]
    purpose: str

    def table(self, samples: Any) -> Table:
        """Read samples into the form that the model was trained on; raises `SamplesRefused`."""
        ...

    def outputs(self, table: Table) -> dict[str, Array]:
        """Let the framework itself compute the outputs, rows first; raises `SamplesRefused`."""
        ...

    def plans(self, table: Table, dtypes: tuple[str, ...]) -> Iterator[Plan]:
        """Return the ways to convert, best first; `dtypes` are the float dtypes to try, in order."""
        ...


def open_model(model: Any) -> Trained:
    """Choose the converter that knows `model`: an estimator, or the path of an ``.onnx`` file.

    Raises `ConverterMissing`, `ConverterFailed`.
    """
    if isinstance(model, str | Path):
        from lading.convert.onnx_file import OnnxFile

        return OnnxFile(Path(model))
    from lading.convert.sklearn import SklearnModel, is_sklearn

    if is_sklearn(model):
        return SklearnModel(model)
    kind = model if isinstance(model, type) else type(model)
    raise ConverterMissing(
        f"`{kind.__qualname__}`",
        expected="a scikit-learn estimator or pipeline, or the path of an `.onnx` file",
        found=f"{'the class ' if kind is model else ''}`{kind.__module__}.{kind.__qualname__}`",
        hint="export the model to ONNX with its own framework, and pack that file",
    )
