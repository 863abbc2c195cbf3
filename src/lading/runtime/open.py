"""Opens the runtime of a bundle, if it may run here. Checks its signature; replays no golden samples."""

from __future__ import annotations

from pathlib import Path

from lading.bundle import Bundle
from lading.runtime import Runtime
from lading.runtime.host.cpus import cpu_limit
from lading.runtime.onnx.session import OnnxRuntime
from lading.runtime.onnx.shared_weights import open_with_shared_weights
from lading.runtime.onnx.signature_check import check_signature
from lading.runtime.onnx.value_costs import first_by_values
from lading.runtime.python.host import DEFAULT_HOST, PythonHost
from lading.runtime.python.open import check_allowed, open_python


def open_runtime(bundle: Bundle, *, threads: int = 0, python: PythonHost = DEFAULT_HOST) -> Runtime:
    """Open the model of `bundle` without checking its signature; ``threads=0`` means `cpu_limit`.

    `python` says how Python runs here, and whether a bundle's own code may. Raises `CodeNotAllowed` before
    anything of it is read, `ModelInvalid`, `OperatorUnsupported`, `SignatureMismatch` (a dtype that no
    signature can name), what `open_python` raises, and the `BundleError` of a file that has changed since it
    was checked.
    """
    check_allowed(bundle.manifest, python.allow)
    threads = threads or cpu_limit()
    if bundle.manifest.runtime == "python":
        return open_python(bundle, python, threads=threads)
    divisible = bundle.manifest.signature.batched
    with bundle.unchanged():
        return OnnxRuntime(bundle.model_path, threads=threads, divisible=divisible)


def load_runtime(bundle: Bundle, *, threads: int = 0, python: PythonHost = DEFAULT_HOST) -> Runtime:
    """Open the model of `bundle` and check that it is the one that its signature describes.

    Raises what `open_runtime` raises.
    """
    return _with_checked_signature(open_runtime(bundle, threads=threads, python=python), bundle)


def load_shared(bundle: Bundle, folder: Path, *, threads: int = 0) -> Runtime | None:
    """Load as `load_runtime` does, sharing the weights with all processes that pass the same `folder`.

    Return None if they cannot be shared, which is no error. Only processes of one machine may share a folder.
    """
    if bundle.manifest.runtime != "onnx":
        return None
    runtime = open_with_shared_weights(bundle, folder, threads=threads or cpu_limit())
    return None if runtime is None else _with_checked_signature(runtime, bundle)


def operator_by_values(bundle: Bundle) -> str:
    """Return an operator of the model whose work follows from values of a request; empty if there is none.

    Raises `ModelInvalid`.
    """
    return first_by_values(bundle.model_path, [tensor.name for tensor in bundle.manifest.signature.inputs])


def _with_checked_signature(runtime: Runtime, bundle: Bundle) -> Runtime:
    """Return `runtime`, or close it and raise `SignatureMismatch`."""
    try:
        check_signature(bundle.manifest.signature, runtime.inputs, runtime.outputs)
    except BaseException:
        runtime.close()
        raise
    return runtime
