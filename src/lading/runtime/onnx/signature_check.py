"""Whether the signature of a manifest describes the model that was loaded. Runs nothing."""

from __future__ import annotations

from collections.abc import Sequence

from lading.errors import SignatureMismatch
from lading.signature import Signature, Tensor


def check_signature(signature: Signature, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """Compare names, dtypes and shapes with those that the model declares; raises `SignatureMismatch`.

    A manifest may be narrower than the model (4 features if the model leaves the size open), never wider: an
    input that the model fixes to one row cannot be promised for a batch.
    """
    _check_names("input", signature.inputs, inputs)
    _check_names("output", signature.outputs, outputs)
    declared = {tensor.name: tensor for tensor in inputs}
    for tensor in signature.inputs:
        _check_tensor("input", tensor, declared[tensor.name])
    declared = {tensor.name: tensor for tensor in outputs}
    for tensor in signature.outputs:
        _check_tensor("output", tensor, declared[tensor.name])


def _check_names(kind: str, manifest: Sequence[Tensor], model: Sequence[Tensor]) -> None:
    if {tensor.name for tensor in manifest} != {tensor.name for tensor in model}:
        raise SignatureMismatch(f"{kind}s", expected=_names(manifest), found=f"{_names(model)} in the model")


def _check_tensor(kind: str, manifest: Tensor, model: Tensor) -> None:
    fits = _input_fits if kind == "input" else _output_fits
    if manifest.dtype != model.dtype or not fits(manifest.shape, model.shape):
        raise SignatureMismatch(
            f"{kind} `{manifest.name}`", expected=f"`{manifest}`", found=f"`{model}` in the model"
        )


def _input_fits(manifest: tuple[int | str, ...], model: tuple[int | str, ...]) -> bool:
    # ONNX Runtime reports the same empty shape for a scalar and for a rank that is not declared at all.
    if not model:
        return True
    return len(manifest) == len(model) and all(
        isinstance(declared, str) or declared == promised
        for promised, declared in zip(manifest, model, strict=True)
    )


def _output_fits(manifest: tuple[int | str, ...], model: tuple[int | str, ...]) -> bool:
    # ONNX Runtime does not enforce declared output shapes: LightGBM's converter declares ``{1}`` for the
    # label of any batch. So only two different numbers disagree; the golden replay shows the real shapes.
    if not model:
        return True
    return len(manifest) == len(model) and all(
        isinstance(promised, str) or isinstance(declared, str) or promised == declared
        for promised, declared in zip(manifest, model, strict=True)
    )


def _names(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"`{tensor.name}`" for tensor in tensors) or "none"
