"""The contract of a converter: a trained model as its own framework runs it, and the ways to make ONNX of it.

A converter answers two questions and judges neither: what does the framework itself answer for these rows,
and what is the model as ONNX? Whether both agree is proved by `lading.pack`. ML frameworks are imported in
this folder only, each in a file of its own; `open` chooses the file for a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from lading.convert.table import Table
from lading.signature import Array, Signature

__all__ = ["Conversion", "Plan", "Table", "TrainedModel"]


@dataclass(frozen=True)
class Conversion:
    """A model as ONNX: its bytes, the signature of its inputs and outputs, and notes for the packer.

    ``rounding`` is how far its numbers differ between one thread and several.
    """

    model: bytes
    signature: Signature
    notes: tuple[str, ...] = ()
    rounding: float = 0.0


@dataclass(frozen=True)
class Plan:
    """One way to convert a model: ``dtype`` is that of its numbers, ``form`` describes its inputs.

    ``convert(table, expected)`` may raise `ConversionError`; `expected` are the framework's own answers.
    """

    dtype: str
    form: str
    convert: Callable[[Table, dict[str, Array]], Conversion]


class TrainedModel(Protocol):
    """One trained model and its framework.

    ``title`` names it in messages; ``expected_from`` names what computes `outputs`; ``packages`` are the
    distributions whose versions matter; ``class_values`` are the texts of the classes, in column order;
    ``purpose`` is the default of the bundle's.
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
        """Compute the outputs with the framework itself, rows first; raises `SamplesRefused`.

        The names are those of the bundle: ``label``, ``probabilities``, ``scores``, ``value``, …
        """
        ...

    def plans(self, table: Table, dtypes: tuple[str, ...]) -> Iterator[Plan]:
        """Return the ways to convert, best first; `dtypes` are the float dtypes to try, in order."""
        ...

    def other_calls(self, table: Table) -> Iterator[tuple[str, Table]]:
        """Return calls of other sizes than `table`, each with what it is; nothing if its rows show it all."""
        ...

    def parts(self) -> Iterator[tuple[str, TrainedModel]]:
        """Return each step with the model up to it, the whole last; nothing if there are no steps."""
        ...
