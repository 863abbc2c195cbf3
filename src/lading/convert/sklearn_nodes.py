"""The nodes that skl2onnx adds, changed on their way into the graph: what repairs of its converters share.

Knows no estimator.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from skl2onnx.common._apply_operation import apply_cast
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

from lading.convert.graph_nodes import DOUBLE


def changed_attributes(
    container: Any, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> contextlib.AbstractContextManager[None]:
    """Pass the attributes of every node through `change` before it is made."""

    def add(own: Any, *values: Any, **attributes: Any) -> Any:
        return own(*values, **change(attributes))

    return intercepted_nodes(container, add)


@contextlib.contextmanager
def intercepted_nodes(container: Any, add: Callable[..., Any]) -> Iterator[None]:
    """Call `add` for every node; its first argument is the container's own method that adds one."""
    own = container.add_node
    container.add_node = partial(add, own)
    try:
        yield
    finally:
        container.add_node = own


@contextlib.contextmanager
def single_outputs(scope: Any, operator: Any, container: Any) -> Iterator[None]:
    """Make a converter's float64 outputs float32, and cast them afterwards: tree ensembles give no others."""
    doubles = [
        (at, output)
        for at, output in enumerate(operator.outputs)
        if isinstance(output.type, DoubleTensorType)
    ]
    singles = [
        scope.declare_local_variable("single", FloatTensorType(output.type.shape)) for _, output in doubles
    ]
    for (at, _), single in zip(doubles, singles, strict=True):
        operator.outputs.set_element(at, single)
    try:
        yield
    finally:
        for at, output in doubles:
            operator.outputs.set_element(at, output)
    for (_, output), single in zip(doubles, singles, strict=True):
        apply_cast(scope, single.full_name, output.full_name, container, to=DOUBLE)
        single.init_status(is_fed=True)
