"""Keras 3 models with the TensorFlow backend: their own answers, and their ONNX form.

`tf2onnx.convert.from_keras` fails with Keras 3, so the model is exported as a function, or by Keras itself.
Trains nothing and leaves the model as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lading.convert import exported, graph, tf_export
from lading.convert.onnx_inputs import Declared
from lading.convert.quiet import quiet
from lading.convert.tensor_model import Route, TensorModel
from lading.convert.tf_operators import replace_operators
from lading.errors import ConverterFailed, one_line
from lading.signature import Array, Tensor

# What Keras calls inputs that have no name, with numbers that count over the whole process.
_NO_NAME = re.compile(r"(input_layer|keras_tensor|input)(_\d+)?")
# They look texts up, in tables that ONNX does not have.
_LOOKUPS = ("StringLookup", "TextVectorization", "IntegerLookup")
_WRAPPED = ("layer", "forward_layer", "backward_layer", "cell")


def open_keras(model: Any) -> TensorModel:
    """Return the converter of a model; raises `ConverterFailed` for what cannot be packed as it is."""
    return TensorModel(KerasModel(model))


def open_keras_file(path: Path) -> TensorModel:
    """Return the converter of the model in a ``.keras`` file, without running code that is in it."""
    _check_backend(f"`{path}`")
    try:
        with quiet():
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # zipfile, json and every layer have errors of their own
        raise ConverterFailed(
            f"`{path}`",
            expected="a model that Keras loads without code of its own",
            found=f"{type(error).__name__}: {one_line(error)}",
            hint="load it in a module of yours that has the classes, and pack it as module:object",
        ) from error
    return open_keras(model)


class KerasModel:
    """A model of Keras; satisfies `lading.convert.tensor_model.TensorSource`."""

    hint = staticmethod(tf_export.hint)

    def __init__(self, model: Any) -> None:
        self.title = str(getattr(model, "name", type(model).__name__))
        _check_backend(f"`{self.title}`")
        self.model = model
        self.framework = f"keras {keras.__version__} with tensorflow {tf.__version__}"
        self.packages: tuple[str, ...] = ("keras", *tf_export.PACKAGES)
        self.notes: tuple[str, ...] = ()
        self._is_stateless = False  # shown by a first call
        self._by_name = False  # whether a subclass takes a dict
        self._check()
        self._inputs: tuple[Any, ...] = tuple(getattr(model, "inputs", None) or ())
        # A `Sequential` that was only fitted has no `input`.
        only = self._inputs[0] if len(self._inputs) == 1 else self._inputs
        self._structure: Any = getattr(model, "input", only)
        self._names = self._input_names()

    def declared(self, samples: Any) -> Sequence[Declared]:
        """Return the inputs that the model was built with, rows first; of a subclass those of the samples."""
        if self._inputs:
            return [
                (name, tf_export.dtype_of(tensor.dtype, f"input `{name}` of `{self.title}`"), _shape(tensor))
                for name, tensor in zip(self._names, self._inputs, strict=True)
            ]
        arrays = samples if isinstance(samples, Mapping) else dict(self._by_position(samples))
        self._by_name = isinstance(samples, Mapping) and (len(arrays) > 1 or self._takes_names(arrays))
        self._names = [str(name) for name in arrays]
        declared: list[Declared] = []
        for name, values in arrays.items():
            array = np.asarray(values)
            # Keras itself takes float64 for what it computes with.
            dtype = keras.config.floatx() if array.dtype.kind == "f" else array.dtype.name
            declared.append((str(name), dtype, (None, *array.shape[1:])))  # type: ignore[arg-type]
        return declared

    def aliases(self) -> Mapping[str, str]:
        """Return Keras' own names of the inputs that are called otherwise here."""
        if not self._inputs:
            return {}
        return {tensor.name: name for tensor, name in zip(self._inputs, self._names, strict=True)}

    def call(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the answers at inference; raises `ConverterFailed` if a call changes the model."""
        before = [] if self._is_stateless else self._state()
        with quiet():
            answers = self._named(self._call([tf.constant(array) for array in arrays.values()]))
        for (variable, value), (_, after) in zip(before, self._state() if before else [], strict=True):
            if not np.array_equal(value, after, equal_nan=value.dtype.kind == "f"):
                variable.assign(value)
                raise ConverterFailed(
                    f"`{variable.path}` of `{self.title}`",
                    expected="a model that answers without changing",
                    found="a state that is another after each call",
                    hint="build it without random numbers at inference (`training=True` in a layer) and"
                    " without `stateful=True`; its weights can be loaded into such a model",
                )
        self._is_stateless = True
        return tf_export.as_arrays(answers, self.title)

    def routes(self) -> Sequence[Route]:
        """Return the model as a function through tf2onnx, then what Keras exports itself."""
        own = Route(f"keras {keras.__version__}'s export", self._export)
        return [*tf_export.routes(self._outputs), *([own] if self._inputs else [])]

    def place_of(self, node: str) -> str:
        """Return the layer that a node of an exported graph is of."""
        # TensorFlow numbers a scope whose name it has had before.
        parts = {part for scope in node.split("/") for part in (scope, re.sub(r"_\d+$", "", scope))}
        return next((f"layer `{layer.name}`" for layer in _layers(self.model) if layer.name in parts), "")

    def _check(self) -> None:
        kind = type(self.model).__name__
        if not isinstance(self.model, keras.Model):
            raise ConverterFailed(
                f"`{kind}`",
                expected="a model",
                found="a part of one",
                hint="put it into a model: `keras.Sequential([keras.Input(shape), layer])`",
            )
        if not self.model.built:
            raise ConverterFailed(
                f"`{self.title}`",
                expected="a model that has been trained",
                found="one without weights: it was never called",
            )
        for layer in _layers(self.model):
            where = f"layer `{layer.name}` of `{self.title}`"
            if type(layer).__name__ in _LOOKUPS:
                raise ConverterFailed(
                    where,
                    expected="a layer that computes with numbers",
                    found=f"`{type(layer).__name__}`, whose table ONNX does not have",
                    hint=tf_export.TEXT_HINT,
                )
            if getattr(layer, "stateful", False) and hasattr(layer, "reset_states"):
                raise ConverterFailed(
                    where,
                    expected="a layer whose answers follow from its inputs",
                    found="`stateful=True`",
                    hint="build it with `stateful=False`, and load the weights into it",
                )

    def _input_names(self) -> list[str]:
        if isinstance(self._structure, Mapping):
            # Keras sorts them wherever it makes a list of them.
            return sorted(str(name) for name in self._structure)
        names = [str(tensor.name) for tensor in self._inputs]
        if len(names) == 1:
            return ["X" if _NO_NAME.fullmatch(names[0]) else names[0]]
        return [f"input_{at + 1}" if _NO_NAME.fullmatch(name) else name for at, name in enumerate(names)]

    def _takes_names(self, arrays: Mapping[str, Any]) -> bool:
        """Return whether a subclass takes a dict of one array, and not the array itself."""
        first = {str(name): tf.constant(np.asarray(array)[:2]) for name, array in arrays.items()}
        try:
            with quiet():
                self.model(first, training=False)
        except Exception:  # noqa: BLE001 - whatever it raises, it does not take them
            return False
        return True

    def _by_position(self, samples: Any) -> Iterator[tuple[str, Any]]:
        """Return the samples of a subclass by name; a tuple has several inputs, everything else is one."""
        several = isinstance(samples, tuple) or (isinstance(samples, list) and _are_arrays(samples))
        if not several:
            yield "X", samples
            return
        yield from ((f"input_{at + 1}", array) for at, array in enumerate(samples))

    def _call(self, tensors: Sequence[Any]) -> Any:
        structured: Any = list(tensors)
        if self._inputs:
            structured = keras.tree.pack_sequence_as(self._structure, structured)
        elif self._by_name:
            structured = dict(zip(self._names, tensors, strict=True))
        elif len(tensors) == 1:
            structured = tensors[0]
        return self.model(structured, training=False)

    def _outputs(self, *tensors: Any) -> list[Any]:
        return list(self._named(self._call(tensors)).values())

    def _named(self, answers: Any) -> dict[str, Any]:
        """Return the outputs by name: keys of a dict, names of output layers, or ``value``."""
        if isinstance(answers, Mapping):
            return {str(name): value for name, value in answers.items()}
        if not isinstance(answers, list | tuple):
            return {"value": answers}
        if len(answers) == 1:
            return {"value": answers[0]}
        names = [str(name) for name in getattr(self.model, "output_names", ())]
        if len(set(names)) != len(answers):
            names = [f"output_{at + 1}" for at in range(len(answers))]
        return dict(zip(names, answers, strict=True))

    def _state(self) -> list[tuple[Any, Array]]:
        return [(variable, variable.numpy()) for variable in self.model.non_trainable_variables]

    def _export(self, inputs: Sequence[Tensor]) -> Any:
        """Return the graph of Keras' own exporter, with its inputs renamed."""
        signature = keras.tree.pack_sequence_as(
            self._structure,
            [
                keras.InputSpec(
                    dtype=tensor.dtype,
                    shape=tuple(size if isinstance(size, int) else None for size in tensor.shape),
                    name=exported.input_name(at),
                )
                for at, tensor in enumerate(inputs)
            ],
        )
        with TemporaryDirectory() as folder, quiet():
            path = Path(folder) / "model.onnx"
            self.model.export(path, format="onnx", verbose=False, input_signature=[signature])
            model = graph.import_onnx().load(path)
        replace_operators(model)
        return model


def _check_backend(where: str) -> None:
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise ConverterFailed(
            where,
            expected="Keras with the backend `tensorflow`",
            found=f"`{backend}`",
            hint="save it (`model.save('model.keras')`), and pack that file with KERAS_BACKEND=tensorflow:"
            " such files belong to no backend",
        )


def _layers(model: Any) -> Iterator[Any]:
    """Return every layer, those inside of models and wrappers included."""
    for layer in getattr(model, "layers", ()):
        yield layer
        yield from _layers(layer)
        for name in _WRAPPED:
            inner = getattr(layer, name, None)
            if isinstance(inner, keras.layers.Layer):
                yield inner
                yield from _layers(inner)


def _shape(tensor: Any) -> tuple[int | None, ...]:
    """Return a shape with the rows open: one that was built by a call has those of the call."""
    return (None, *tensor.shape[1:])


def _are_arrays(samples: Sequence[Any]) -> bool:
    return all(isinstance(each, np.ndarray) or hasattr(each, "numpy") for each in samples)
