"""One loaded model: what every runtime offers, and how one is opened for a bundle.

Checks no digest and replays no samples (`bundle` and `verify` do); batches nothing (the server does).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lading.errors import FormatUnsupported
from lading.runtime.host.cpus import cpu_limit
from lading.runtime.host.fingerprint import fingerprint
from lading.runtime.onnx.signature_check import check_signature
from lading.signature import Array, Tensor

if TYPE_CHECKING:
    from lading.bundle import Bundle

__all__ = [
    "Runtime",
    "check_signature",
    "cpu_limit",
    "fingerprint",
    "load_runtime",
    "load_shared",
    "open_runtime",
]


class Runtime(Protocol):
    """A model that is loaded and can be run from several threads at once.

    ``inputs`` and ``outputs`` are as the model itself declares them, in its order; a size that the model
    leaves open without naming it is called ``?``.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Compute `outputs` (all where None) of arrays that `Signature.cast` let through.

        Dtypes come out exactly as declared, strings as object arrays of ``str``. Raises `RunFailed`.
        """
        ...

    def close(self) -> None:
        """Release the model's memory; runs under way finish first. Closing twice is no error."""
        ...


def open_runtime(bundle: Bundle, *, threads: int = 0) -> Runtime:
    """Open the model of `bundle` without looking at its signature; ``threads`` 0 takes `cpu_limit`.

    Raises `ModelInvalid`, `OperatorUnsupported`, `SignatureMismatch` (a dtype that no signature can name).
    """
    kind = bundle.manifest.runtime
    if kind != "onnx":
        raise FormatUnsupported(
            f"runtime of bundle `{bundle.manifest.name}`", expected="`onnx`", found=f"`{kind}`"
        )
    from lading.runtime.onnx.session import OnnxRuntime

    return OnnxRuntime(bundle.model_path, threads=threads or cpu_limit())


def load_runtime(bundle: Bundle, *, threads: int = 0) -> Runtime:
    """Open the model of `bundle` and check that it is the one its signature describes.

    Raises `ModelInvalid`, `OperatorUnsupported`, `SignatureMismatch`.
    """
    return _checked(open_runtime(bundle, threads=threads), bundle)


def load_shared(bundle: Bundle, folder: Path, *, threads: int = 0) -> Runtime | None:
    """Load as `load_runtime` does, with weights that all processes share which name the same `folder`.

    None where they cannot be shared, which is no error. Only processes of one machine may share a folder.
    """
    if bundle.manifest.runtime != "onnx":
        return None
    from lading.runtime.onnx.shared_weights import open_prepared

    runtime = open_prepared(bundle, folder, threads=threads or cpu_limit())
    return None if runtime is None else _checked(runtime, bundle)


def _checked(runtime: Runtime, bundle: Bundle) -> Runtime:
    """Return the runtime back if it is what the signature describes; close it if not."""
    try:
        check_signature(bundle.manifest.signature, runtime.inputs, runtime.outputs)
    except BaseException:
        runtime.close()
        raise
    return runtime
