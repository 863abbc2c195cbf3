"""SavedModels of TensorFlow, and functions of TensorFlow that were traced: their answers and their ONNX form.

A SavedModel is loaded by TensorFlow, which runs operations and no Python. Knows no Keras.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from lading.convert import tf_export
from lading.convert.onnx_inputs import Declared
from lading.convert.quiet import quiet
from lading.convert.tensor_model import Route, TensorModel
from lading.errors import ConverterFailed, one_line
from lading.signature import Array

_SERVING = "serving_default"
# TensorFlow calls a single output so, and Keras as well.
_NO_NAME = ("output_0",)


def open_saved_model(path: Path) -> TensorModel:
    """Return the converter of a SavedModel's signature: `serving_default`, or its only one."""
    try:
        with quiet():
            loaded = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow's errors share no base with those of the file system
        raise ConverterFailed(
            f"`{path}`", expected="a SavedModel that TensorFlow loads", found=one_line(error)
        ) from error
    signatures = dict(sorted(loaded.signatures.items()))
    name = _SERVING if _SERVING in signatures else next(iter(signatures), "")
    if not name or (name != _SERVING and len(signatures) > 1):
        raise _no_signature(path, list(signatures))
    notes: tuple[str, ...] = ()
    if len(signatures) > 1:
        notes = (f"signature `{name}` of {', '.join(f'`{each}`' for each in signatures)}",)
    model = TensorModel(TensorFunction(signatures[name], path.name, notes))
    # Variables live as long as the object that was loaded.
    model.source.loaded = loaded  # type: ignore[attr-defined]
    return model


def open_tensorflow(model: Any) -> TensorModel:
    """Return the converter of a traced function, such as a signature; raises `ConverterFailed` for others."""
    kind = type(model)
    if not hasattr(model, "structured_input_signature"):
        raise ConverterFailed(
            f"`{kind.__qualname__}`",
            expected="a traced function, or the folder of a SavedModel",
            found=f"`{kind.__module__}.{kind.__qualname__}`",
            hint="save it (`tf.saved_model.save(model, folder, signatures=...)`), and pack that folder",
        )
    name = getattr(model, "name", kind.__name__)
    title = re.sub(r"^__inference_|_\d+$", "", name.decode() if isinstance(name, bytes) else str(name))
    return TensorModel(TensorFunction(model, title, ()))


class TensorFunction:
    """A traced function of TensorFlow; satisfies `lading.convert.tensor_model.TensorSource`."""

    hint = staticmethod(tf_export.hint)

    def __init__(self, function: Any, title: str, notes: tuple[str, ...]) -> None:
        self.function = function
        self.title = title
        self.notes = notes
        self.framework = f"tensorflow {tf.__version__}"
        self.packages: tuple[str, ...] = tf_export.PACKAGES
        args, kwargs = function.structured_input_signature
        self._specs = {**_named(args), **kwargs}
        self._positional = len(args)
        self._check()

    def declared(self, samples: Any) -> Sequence[Declared]:  # noqa: ARG002 - the signature says it
        """Return the inputs of the signature in its order, open sizes as None."""
        return [
            (name, tf_export.dtype_of(spec.dtype, f"input `{name}` of `{self.title}`"), tuple(spec.shape))
            for name, spec in self._specs.items()
        ]

    def aliases(self) -> Mapping[str, str]:
        """Return nothing: a signature's inputs have the names that it gives them."""
        return {}

    def call(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return what the function answers."""
        with quiet():
            answers = _answers(self._call([tf.constant(array) for array in arrays.values()]))
        return tf_export.as_arrays(answers, self.title)

    def routes(self) -> Sequence[Route]:
        """Return the function through tf2onnx."""
        return tf_export.routes(lambda *tensors: list(_answers(self._call(tensors)).values()))

    def place_of(self, node: str) -> str:
        """Return the operation that a node is of."""
        return f"operation `{node}`" if node else ""

    def _call(self, tensors: Sequence[Any]) -> Any:
        named = dict(zip(list(self._specs)[self._positional :], tensors[self._positional :], strict=True))
        return self.function(*tensors[: self._positional], **named)

    def _check(self) -> None:
        for name, spec in self._specs.items():
            where = f"input `{name}` of `{self.title}`"
            if not isinstance(spec, tf.TensorSpec) or spec.shape.rank is None:
                raise ConverterFailed(
                    where,
                    expected="a dense tensor with a number of dimensions",
                    found=str(spec),
                    hint="trace the function with a `tf.TensorSpec` of its shape, None for open sizes",
                )
        if not self._specs:
            raise ConverterFailed(f"`{self.title}`", expected="an input", found="none")


def _named(args: Sequence[Any]) -> dict[str, Any]:
    return {str(getattr(spec, "name", None) or f"input_{at + 1}"): spec for at, spec in enumerate(args)}


def _answers(answers: Any) -> dict[str, Any]:
    """Return the outputs by name: those of a signature, or ``value`` for the only one."""
    if isinstance(answers, Mapping):
        named = {str(name): value for name, value in answers.items()}
        only = next(iter(named))
        return {"value": named[only]} if len(named) == 1 and only in _NO_NAME else named
    if not isinstance(answers, list | tuple):
        return {"value": answers}
    if len(answers) == 1:
        return {"value": answers[0]}
    return {f"output_{at + 1}": value for at, value in enumerate(answers)}


def _no_signature(path: Path, names: Sequence[str]) -> ConverterFailed:
    if not names:
        return ConverterFailed(
            f"`{path}`",
            expected="a SavedModel with a signature",
            found="none",
            hint="save it with one: `tf.saved_model.save(model, folder, signatures=model.function)`, the"
            " function traced with `tf.function(input_signature=...)`",
        )
    return ConverterFailed(
        f"`{path}`",
        expected=f"the signature `{_SERVING}`, or only one",
        found=", ".join(f"`{name}`" for name in names),
        hint=f"pack one of them, in Python or as module:object: `loaded = tf.saved_model.load(folder)`, and"
        f" `loaded.signatures['{names[0]}']`",
    )
