"""The process of some machine of a Ray cluster that scores. Decides nothing: whatever is wrong is an answer.

Ray sends the code itself, so that a machine on which lading is missing or broken can say so. Imports nothing
of lading at its top for that reason.
"""

from __future__ import annotations

import io
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
import ray.cloudpickle


@contextmanager
def sent_by_value() -> Iterator[None]:
    """Have Ray send the code of `Actor` itself, not the name of its module."""
    module = sys.modules[__name__]
    ray.cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        ray.cloudpickle.unregister_pickle_by_value(module)


class Actor:
    """Scores tasks of a run. Answers are pairs of a kind and a value.

    It is given what it needs as references, which it resolves where an error of that is caught.
    """

    def where(self) -> tuple[str, Any]:
        """Return the machine: its id in the cluster, and its name."""
        return "placed", (ray.get_runtime_context().get_node_id(), socket.gethostname())

    def open(self, references: list[Any]) -> tuple[str, Any]:
        """Open the bundle and have it prove itself here."""
        shipment, tar = references
        try:
            from lading.batch.shipping import Station

            self._station = Station(ray.get(shipment), lambda: io.BytesIO(ray.get(tar)))
        except Exception as error:  # noqa: BLE001 - a library may be broken in any way
            # An exception of another library may not be known where it is unpickled.
            is_own = type(error).__module__ == "lading.errors"
            return "refused", error if is_own else f"{type(error).__name__}: {error}"
        return "opened", None

    def score(self, task: Any) -> tuple[str, Any]:
        """Score a task: the answer of `Station.answer`. Raises what is no error of lading."""
        return self._station.answer(task)

    def close(self) -> None:
        """Release the model."""
        self._station.close()
