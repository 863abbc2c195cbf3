"""The outputs that a request selects, and the form of each."""

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
FORMS = 2
"""How often a request may name an output: for its values, and for its classes."""


@dataclass(frozen=True, slots=True)
class SelectedOutput:
    """One output and its form: raw bytes if ``binary``; with ``classes``, so many ``value:index`` strings."""

    tensor: Tensor
    binary: bool = False
    classes: int = 0

    @classmethod
    def parse(cls, tensor: Tensor, classes: Any, path: str, *, binary: bool) -> SelectedOutput:
        """Check the value of a request's ``classification`` parameter; raises `BodyInvalid`."""
        if not isinstance(classes, int) or isinstance(classes, bool) or classes < 0:
            raise BodyInvalid(
                f"`{path}.classification`", expected="a number of classes", found=f"`{classes}`"
            )
        return cls(tensor, binary, classes)

    @property
    def datatype(self) -> str:
        """Return the datatype that the answer states."""
        return "BYTES" if self.classes else tensors.DATATYPES[self.tensor.dtype]

    def array(self, served: ServedVersion, outputs: Mapping[str, Array]) -> Array:
        """Return this output in its form, from what the model computed."""
        array = outputs[self.tensor.name]
        return tensors.classify(served, self.tensor, array, self.classes) if self.classes else array


class Selection(NamedTuple):
    """The outputs of one answer, and the names to compute; ``compute`` None computes all.

    Requests that compute the same outputs can run together, so None is used wherever it is true.
    """

    outputs: tuple[SelectedOutput, ...]
    compute: tuple[str, ...] | None

    @classmethod
    def of(cls, served: ServedVersion, outputs: Iterable[SelectedOutput]) -> Selection:
        """Select `outputs` in their order; one output may occur twice, in two forms."""
        selected = tuple(outputs)
        names = tuple(dict.fromkeys(output.tensor.name for output in selected))
        return cls(selected, None if len(names) == len(served.signature.outputs) else names)


def select_outputs(served: ServedVersion, names: tuple[str, ...], *, binary: bool) -> Selection:
    """Return the outputs called `names`, or every output if `names` is empty, all in one form.

    Raises `OutputUnknown`. A selection is made once per version and remembered.
    """
    key = (Selection, binary, names)
    plans = served.model.plans
    selection: Selection | None = plans.get(key)
    if selection is None:
        check_outputs(served, names)
        known = {tensor.name: tensor for tensor in served.signature.outputs}
        selection = Selection.of(served, (SelectedOutput(known[name], binary) for name in names or known))
        # Clients choose the names and their order: without a limit they could fill the memory.
        if len(plans) < _MOST_PLANS:
            plans[key] = selection
    return selection
