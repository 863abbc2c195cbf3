"""A bundle tried out where it is: answers in this process, or from a server of its own in the background.

For notebooks and scripts. In production `lading serve` serves, which is also what `serve` starts.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from lading.bundle import Bundle
from lading.bundle.requests import request_signature
from lading.client import Client, Prediction, plain
from lading.errors import LabelsNotFound, OutputUnknown, ServerUnavailable
from lading.ref import Ref
from lading.runtime.open import load_runtime
from lading.runtime.python.host import DEFAULT_HOST, Allow, PythonHost
from lading.signature import Array, Signature, Tensor, label_output, named_labels
from lading.signature.rows import as_rows
from lading.verify import replay

_STOP_S = 30.0
_POLL_S = 0.05


def predict(
    bundle: Bundle | Path | str, rows: Any, outputs: Sequence[str] | None = None, *, allow: Allow = "none"
) -> Prediction:
    """Predict for `rows` in this process, after the golden samples have held here, as a server would.

    `rows` and `outputs` are those of `Client.predict`. The model is loaded for each call; to ask often,
    `serve` the bundle. `allow` is what of the bundle's own may run: ``"code"`` or ``"pickle"``. Raises
    `GoldenMismatch`, `InputError`, `OutputUnknown`, `CodeNotAllowed`.
    """
    opened = _open(bundle)
    signature = request_signature(opened.manifest, opened.samples())
    return answer(opened, read_rows(signature, rows), outputs=outputs or (), python=PythonHost(allow=allow))


def answer(
    bundle: Bundle,
    inputs: dict[str, Array],
    *,
    outputs: Sequence[str] = (),
    label: bool = False,
    python: PythonHost = DEFAULT_HOST,
) -> Prediction:
    """Run the bundle on arrays that its signature has cast, once its golden samples hold here.

    The values are those of the primary output, of the first of `outputs`, or with `label` the names of the
    classes. Raises `GoldenMismatch`, `RunFailed`, `OutputUnknown`, `LabelsNotFound`.
    """
    signature = bundle.manifest.signature
    tensors = [_label_tensor(bundle)] if label else _selected(signature, outputs)
    runtime = load_runtime(bundle, python=python)
    try:
        # As a server does before it is ready: no answer from a bundle that does not hold here.
        replay(runtime, bundle)
        arrays = runtime.run(inputs, [tensor.name for tensor in tensors])
    finally:
        runtime.close()
    first = tensors[0]
    if label:
        names = named_labels(first, arrays[first.name], bundle.manifest.labels)
        values = names if isinstance(names, list) else [names]
        return Prediction(values, {}, bundle.manifest.name, bundle.digest, "")
    columns = {tensor.name: _values(arrays[tensor.name]) for tensor in tensors}
    return Prediction(
        columns[first.name], columns if outputs else {}, bundle.manifest.name, bundle.digest, ""
    )


def read_rows(signature: Signature, rows: Any) -> dict[str, Array]:
    """Return the inputs of a model from rows of any form that `Client.predict` takes."""
    if isinstance(rows, np.ndarray) and len(signature.inputs) == 1:
        return signature.cast({signature.inputs[0].name: rows})
    return signature.cast_rows(plain(as_rows(signature, rows)))


def serve(
    model: Bundle | Path | str, *, port: int = 0, registry: str | None = None, ready_s: float = 60.0
) -> Server:
    """Serve a bundle, its directory or a reference such as ``iris:1`` in the background; return once ready.

    The server listens on this machine only, on a free port unless `port` names one, and ends with `close`,
    with the returned object or with this process. Raises `ServerUnavailable` with the reason if it is not
    ready within `ready_s`.
    """
    target = _target(model)
    command = [sys.executable, "-m", "lading", "serve", target, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--grpc-port", "-1", "--workers", "1", "--log-level", "info"]
    command += ["--registry", registry] if registry else []
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `_stop`
    # In a session of its own: the interrupt that stops a cell of a notebook is not meant for the server.
    process = subprocess.Popen(  # noqa: S603 - this very program
        command, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True
    )
    server = Server(target, process, log)
    try:
        server.wait_ready(ready_s)
    except BaseException:
        server.close()
        raise
    return server


class Server:
    """A server in the background, for trying out; made by `lading.serve`."""

    def __init__(self, target: str, process: subprocess.Popen[bytes], log: IO[str]) -> None:
        self._target, self._process, self._log = target, process, log
        self._url: str | None = None
        # Also when this process exits.
        self._close = weakref.finalize(self, _stop, process, log)

    @property
    def url(self) -> str:
        """Return the address, such as ``http://127.0.0.1:40113``; the documentation is at ``/docs``."""
        assert self._url is not None, "ready"
        return self._url

    @property
    def log(self) -> str:
        """Return what the server has logged."""
        # The process writes at the end of the same file.
        return os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0).decode(errors="replace")

    def client(self) -> Client:
        """Return a new client of this server."""
        return Client(self.url)

    def predict(self, rows: Any, outputs: Sequence[str] | None = None) -> Prediction:
        """Ask for predictions, as `Client.predict` does."""
        with self.client() as client:
            return client.predict(rows, outputs)

    def close(self) -> None:
        """Stop the server once it has answered the requests in flight; closing twice is no error."""
        self._close()

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until the server is ready; raises `ServerUnavailable` with the reason if it is not in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            ended = self._process.poll() is not None
            health, reason = ("ended", "its process ended") if ended else self._health()
            if health == "ok":
                return
            if health in ("ended", "failed") or time.monotonic() > deadline:
                raise self._unavailable(reason, timeout_s)
            time.sleep(_POLL_S)

    def _health(self) -> tuple[str, str]:
        address = re.search(r"http://127\.0\.0\.1:\d+", self.log)
        if address is None:
            return "starting", "it does not listen yet"
        self._url = address.group()
        with self.client() as client:
            health = client.health()
        return str(health["health"]), str(health.get("reason", "it is not ready"))

    def _unavailable(self, reason: str, timeout_s: float) -> ServerUnavailable:
        lines = [line for line in self.log.splitlines() if line.startswith(("error: ", "hint: "))]
        parts = {line.partition(": ")[0]: line.partition(": ")[2] for line in lines}
        return ServerUnavailable(
            f"server of `{self._target}`",
            expected=f"to be ready within {timeout_s:g} s",
            found=parts.get("error", reason),
            hint=parts.get("hint"),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = self._url if self._close.alive else "closed"
        return f"Server({self._target!r}, {state})"


def _stop(process: subprocess.Popen[bytes], log: IO[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    log.close()


def _target(model: Bundle | Path | str) -> str:
    """Return what names the model to `lading serve`; a directory has a slash, by which it is recognised."""
    if isinstance(model, Bundle):
        return str(model.path.absolute())
    if isinstance(model, Path) or Path(model).is_dir():
        return str(Path(model).absolute())
    return str(Ref.parse(model))


def _open(bundle: Bundle | Path | str) -> Bundle:
    return bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)


def _selected(signature: Signature, names: Sequence[str]) -> list[Tensor]:
    """Return the outputs with these names, or the primary one without any. Raises `OutputUnknown`."""
    known = {tensor.name: tensor for tensor in signature.outputs}
    for name in names:
        if name not in known:
            raise OutputUnknown("outputs", expected=_quoted(known), found=f"`{name}`")
    return [known[name] for name in names] or [signature.primary]


def _label_tensor(bundle: Bundle) -> Tensor:
    outputs = bundle.manifest.signature.outputs
    tensor = label_output(outputs)
    if tensor is None:
        actual = _quoted([output.name for output in outputs])
        where = f"model `{bundle.manifest.name}`"
        raise LabelsNotFound(where, expected="an output `label`", found=actual)
    return tensor


def _quoted(names: Sequence[str] | dict[str, Tensor]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _values(array: Array) -> list[Any]:
    """Return the rows as JSON values; narrow floats by their shortest decimals, as the server writes them."""
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        # float32 0.1 would become 0.10000000149011612 as a float64.
        array = array.astype(str).astype(float)
    values = array.tolist()
    return values if isinstance(values, list) else [values]
