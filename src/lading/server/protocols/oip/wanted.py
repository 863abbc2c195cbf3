"""The outputs that a request asks for, and in what form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lading.errors import BodyInvalid
from lading.server.protocols.oip import tensors
from lading.server.states import Served
from lading.signature import Array, Tensor


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """One output: as bytes or not, and as the strings of the `classes` highest values where that is not 0."""

    tensor: Tensor
    binary: bool = False
    classes: int = 0

    @classmethod
    def checked(cls, tensor: Tensor, classes: Any, path: str, *, binary: bool) -> WantedOutput:
        """Make one from what a request says of ``classification``."""
        if not isinstance(classes, int) or isinstance(classes, bool) or classes < 0:
            raise BodyInvalid(
                f"`{path}.classification`", expected="a number of classes", found=f"`{classes}`"
            )
        return cls(tensor, binary, classes)

    @property
    def datatype(self) -> str:
        """The datatype that the answer gives."""
        return "BYTES" if self.classes else tensors.DATATYPES[self.tensor.dtype]

    def of(self, served: Served, outputs: Mapping[str, Array]) -> Array:
        """Take this output out of what the model gave."""
        array = outputs[self.tensor.name]
        return tensors.classify(served, self.tensor, array, self.classes) if self.classes else array


def all_outputs(served: Served, *, binary: bool) -> tuple[WantedOutput, ...]:
    """Give every output of `served` in one form; made once."""
    key = (WantedOutput, binary)
    found: tuple[WantedOutput, ...] | None = served.plans.get(key)
    if found is None:
        found = tuple(WantedOutput(tensor, binary) for tensor in served.signature.outputs)
        served.plans[key] = found
    return found


def compute(served: Served, wanted: Sequence[WantedOutput]) -> tuple[str, ...] | None:
    """Name the outputs to compute; None for all, which lets requests of one kind run together."""
    if len(wanted) == len(served.signature.outputs) and wanted is all_outputs(
        served, binary=wanted[0].binary
    ):
        return None
    names = tuple(dict.fromkeys(one.tensor.name for one in wanted))
    return None if len(names) == len(served.signature.outputs) else names
