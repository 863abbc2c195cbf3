"""The outputs that a request asks for, and in what form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lading.errors import BodyInvalid
from lading.server.inference.dataplane import check_outputs
from lading.server.inference.version import ServedVersion
from lading.server.protocols.oip import tensors
from lading.signature import Array, Tensor

_MOST_PLANS = 256


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

    def of(self, served: ServedVersion, outputs: Mapping[str, Array]) -> Array:
        """Take this output out of what the model gave."""
        array = outputs[self.tensor.name]
        return tensors.classify(served, self.tensor, array, self.classes) if self.classes else array


class Asked(NamedTuple):
    """What one request asks for, and the names to compute: None for all, which lets requests run together."""

    outputs: tuple[WantedOutput, ...]
    compute: tuple[str, ...] | None

    @classmethod
    def of(cls, served: ServedVersion, outputs: Iterable[WantedOutput]) -> Asked:
        """Take `outputs` as they stand; one may stand there twice, in two forms."""
        given = tuple(outputs)
        names = tuple(dict.fromkeys(one.tensor.name for one in given))
        return cls(given, None if len(names) == len(served.signature.outputs) else names)


def plain_outputs(served: ServedVersion, names: tuple[str, ...], *, binary: bool) -> Asked:
    """Return the outputs called `names`, every one where there are none, all in one form.

    Raises `OutputUnknown`. What is asked again and again is made once.
    """
    key = (Asked, binary, names)
    plans = served.model.plans
    found: Asked | None = plans.get(key)
    if found is None:
        check_outputs(served, names)
        known = {tensor.name: tensor for tensor in served.signature.outputs}
        found = Asked.of(served, (WantedOutput(known[name], binary) for name in names or known))
        if len(plans) < _MOST_PLANS:
            plans[key] = found
    return found
