"""Nodes that our own converters add to the graph that skl2onnx is building. Knows no estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from skl2onnx._parse import _parse_sklearn
from skl2onnx._supported_operators import _get_sklearn_operator_name
from skl2onnx.common._registration import get_converter
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType

from lading.onnx_runtime.refusals import Refused
from lading.signature import Array

FLOAT, INT64, STRING, BOOL, DOUBLE = 1, 7, 8, 9, 11
"""TensorProto's numbers of the types of elements."""

_DOMAINS = {
    "Tokenizer": "com.microsoft",
    "LabelEncoder": "ai.onnx.ml",
    "Normalizer": "ai.onnx.ml",
    "OneHotEncoder": "ai.onnx.ml",
    "TreeEnsembleRegressor": "ai.onnx.ml",
}
_VERSIONS = {"": 18, "ai.onnx.ml": 3, "com.microsoft": 1}
_TYPES = {"float32": FLOAT, "int64": INT64, "object": STRING, "bool": BOOL, "float64": DOUBLE}


class GraphNodes:
    """Adds nodes to skl2onnx's container; each method returns the name of what it made."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope = scope
        self._container = container

    def node(self, op: str, inputs: Sequence[str], *, output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output."""
        made = output or str(self._scope.get_unique_variable_name(op.lower()))
        domain = _DOMAINS.get(op, "")
        attributes.setdefault("name", self._scope.get_unique_operator_name(op))
        self._container.add_node(
            op, list(inputs), [made], op_domain=domain, op_version=_VERSIONS[domain], **attributes
        )
        return made

    def constant(self, values: Any) -> str:
        """Add an initializer: numbers, booleans, or texts as objects."""
        array = np.asarray(values)
        name = str(self._scope.get_unique_variable_name("constant"))
        flat = array.ravel().tolist()
        content = [text.encode() for text in flat] if array.dtype == object else flat
        self._container.add_initializer(name, _TYPES[array.dtype.name], list(array.shape), content)
        return name

    def axis(self, at: int) -> str:
        """Return an axis, or another single number, as a tensor of one value."""
        return self.constant(np.array([at]))

    def double(self, value: str) -> str:
        """Return numbers as float64."""
        return self.node("Cast", [value], to=DOUBLE)

    def features(self, operator: Any) -> str:
        """Return the columns that an operator gets as float64, ``[batch, columns]``."""
        columns = [self.double(variable.full_name) for variable in operator.inputs]
        return columns[0] if len(columns) == 1 else self.node("Concat", columns, axis=1)

    def finish(self, value: str, output: Any) -> None:
        """Make `value` an output of an operator, in its type."""
        kinds = {DoubleTensorType: DOUBLE, Int64TensorType: INT64, StringTensorType: STRING}
        self.node("Cast", [value], output=output.full_name, to=kinds.get(type(output.type), FLOAT))

    def refusing(self, wrong: str, reason: Refused, step: str) -> str:
        """Return ones of float32, ``[batch, 1]``; the run fails for a row of `wrong`, ``[batch, columns]``.

        What comes after has to be multiplied by them: ONNX Runtime leaves out what nothing depends on.
        """
        # Of 256 rows of 100 columns, the largest of float32 marks took half the time of that of int64 ones.
        marks = self.node("ReduceMax", [self.node("Cast", [wrong], to=FLOAT), self.axis(1)], keepdims=0)
        name = reason.node_name(step) + str(self._scope.get_unique_operator_name("refuse"))
        return self.node("OneHotEncoder", [marks], name=name, cats_int64s=[0], zeros=0)

    def label(self, index: str, classes: Array, output: Any) -> None:
        """Make the class at each index, ``[batch]``, the label that an operator puts out."""
        texts = classes.dtype.kind in "OUS"
        # skl2onnx's labels are whole numbers or texts, and it knows which by the classes.
        known = classes.astype(object) if texts else np.asarray(classes).astype(np.int64)
        self.node("Gather", [self.constant(known), index], output=output.full_name, axis=0)

    def answers(self, model: Any, inputs: Any, *, scores: bool = False) -> list[str]:
        """Add another estimator behind the same inputs, in float64; ``scores`` asks for raw scores.

        What comes after it is a curve or a threshold, where a rounding of float32 can decide.
        """
        last = model
        while hasattr(last, "steps"):
            last = last.steps[-1][1]
        if hasattr(last, "predict_proba") or hasattr(last, "decision_function"):
            wanted = {"zipmap": False, "raw_scores": scores}
            converter = get_converter(_get_sklearn_operator_name(type(last)))
            allowed = converter.get_allowed_options() or {}
            options = {name: value for name, value in wanted.items() if name in allowed}
            for owner in (self._scope, self._container):
                owner.add_options(id(last), options)
        variables = _parse_sklearn(self._scope, model, [self._wide(variable) for variable in inputs])
        return [variable.full_name for variable in variables]

    def _wide(self, variable: Any) -> Any:
        if not isinstance(variable.type, FloatTensorType):
            return variable
        double = self._scope.declare_local_variable("double", DoubleTensorType(variable.type.shape))
        self.node("Cast", [variable.full_name], output=double.full_name, to=DOUBLE)
        double.init_status(is_fed=True)
        return double
