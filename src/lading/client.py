"""A client of one lading server: typed answers over a kept-alive connection, and errors of lading's own tree.

Only the connection attempt of a GET is retried. A prediction is sent once, so that a caller that must not ask
twice never does. Knows the native routes; has no asynchronous variant and imports no pandas.
"""

from __future__ import annotations

import math
import reprlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import msgspec
import numpy as np

from lading import notebook
from lading.credentials import trusted, with_key
from lading.errors import InvalidSetting, RemoteError, ServerUnavailable, UsageError, ValueRefused
from lading.ref import Ref
from lading.settings import client_key
from lading.signature import Signature
from lading.signature.rows import as_rows, may_be_row

_NOT_YET = 202
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0

CONNECT_TRIES = 3
"""The connection attempts of a GET, 0.1 s and then 0.2 s apart."""


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """The answer to one request: ``values`` has one entry per row, of the primary output or of labels.

    ``outputs`` holds the outputs that the request named; ``values`` are then those of the first one.
    """

    values: list[Any]
    outputs: dict[str, list[Any]]
    model: str
    digest: str
    request_id: str

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __getitem__(self, row: int) -> Any:
        return self.values[row]

    def __repr__(self) -> str:
        rows = f"{len(self)} row{'' if len(self) == 1 else 's'}"
        more = ", …" if len(self) > 1 else ""
        first = reprlib.repr(self.values[0]) if self else ""
        return f"Prediction({rows} of {notebook.line(self.model)}: {first}{more})"

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows, or None without the extra ``hub``."""
        return notebook.fragment("prediction", self)


@dataclass(frozen=True, slots=True)
class Job:
    """A request that is answered later: ``state`` is waiting, running, done, failed or cancelled.

    ``status`` is the HTTP status of its answer, 0 without one; ``reason`` says why it has failed, or why it
    waits again.
    """

    id: str
    model: str
    state: str
    priority: int = 0
    attempts: int = 0
    status: int = 0
    reason: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether it will not change any more."""
        return self.state in ("done", "failed", "cancelled")


class Client:
    """Ask the server at `url` for predictions of `model`, or of its default model.

    ``model`` is ``iris``, ``iris:3`` or ``iris:live``. Without it the client asks the server once for its
    default model and uses that one from then on. ``headers`` are sent with every request, and so is the
    ``key`` (or else ``LADING_KEY``), an API key or a token. ``ca`` is a file with the certificates that sign
    the server's, ``cert`` the files of the client's own certificate and its key. Several threads may share
    one client. Raises `RemoteError` if the server answers with an error, with its sentence, hint, ``status``
    and ``code``, and `ServerUnavailable` if the server cannot be reached, does not answer within
    ``timeout_s``, or is not ready (503).
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | Ref | None = None,
        timeout_s: float = 30.0,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
        ca: str | Path | None = None,
        cert: tuple[str | Path, str | Path] | None = None,
    ) -> None:
        ref = Ref.parse(model) if isinstance(model, str) else model
        self._model = ref
        self._prefix = None if ref is None else _prefix(ref)
        self._timeout_s = timeout_s
        try:
            self._http = httpx.Client(
                base_url=url,
                timeout=timeout_s,
                headers=with_key(headers, key if key is not None else client_key()),
                verify=trusted(ca, cert),
            )
        except httpx.InvalidURL as reason:
            raise _bad_url(url, str(reason)) from None
        base = self._http.base_url
        if base.scheme not in ("http", "https") or not base.host:
            self._http.close()
            raise _bad_url(url, "another form")
        # The address as messages write it, without a password.
        self._address = str(base.copy_with(userinfo=b"")).rstrip("/")

    def predict(self, data: Any, outputs: Sequence[str] | None = None) -> Prediction:
        """Predict for `data`: rows (lists, or objects by column), an array, a data frame, or inputs by name.

        One row may also be an object of single values by column, or a row of a data frame. NaN and
        missing values are sent as ``null``. ``outputs`` names outputs to return instead of the primary one.
        Raises `ValueRefused` for a value that JSON cannot hold, such as infinity.
        """
        body: dict[str, Any] = {"data": plain(self._rows(data))}
        if outputs is not None:
            body["outputs"] = list(outputs)
        return self._post("predict", body)

    def predict_label(self, data: Any) -> Prediction:
        """Predict the label of each row of `data`, by its name in the bundle."""
        return self._post("predict/label", {"data": plain(self._rows(data))})

    def submit(
        self,
        data: Any,
        outputs: Sequence[str] | None = None,
        *,
        priority: int = 0,
        key: str = "",
        webhook: str = "",
    ) -> Job:
        """Have `data` predicted later, as `predict` would; the server must take jobs (`--jobs`).

        Jobs of a greater `priority` are first. With the same `key` it is the same job, however often it is
        submitted: without one, a job that was submitted twice runs twice. `webhook` is a URL that is called
        when the job has ended.
        """
        body: dict[str, Any] = {"data": plain(self._rows(data))}
        if outputs is not None:
            body["outputs"] = list(outputs)
        headers = {"content-type": "application/json", "x-lading-job-priority": str(priority)}
        headers |= {"idempotency-key": key} if key else {}
        headers |= {"x-lading-job-webhook": webhook} if webhook else {}
        content = _encoded(body)
        answer = self._send("POST", f"{self._model_prefix()}/jobs", content=content, headers=headers)
        self._check(answer)
        return self._job(answer)

    def job(self, job: str | Job) -> Job:
        """Return a job as it is now. Raises `RemoteError` (404) if there is none with this id."""
        return self._job(self._get(f"/jobs/{quote(_id_of(job))}"))

    def cancel(self, job: str | Job) -> Job:
        """Cancel a job that waits or runs. Raises `RemoteError` (409) if it has ended."""
        answer = self._send("DELETE", f"/jobs/{quote(_id_of(job))}")
        self._check(answer)
        return self._job(answer)

    def wait(self, job: str | Job, *, timeout_s: float = 300.0) -> Prediction:
        """Wait until a job has ended, and return its answer; raises what `predict` would have raised.

        Raises `ServerUnavailable` after `timeout_s`; the job goes on.
        """
        # The result and not the job: it is the answer of the route, errors included.
        path, ends_at = f"/jobs/{quote(_id_of(job))}/result", time.monotonic() + timeout_s
        pause_s = _FIRST_PAUSE_S
        while (answer := self._get(path)).status_code == _NOT_YET:
            left_s = ends_at - time.monotonic()
            if left_s <= 0:
                expected = f"a result within {timeout_s:g} s"
                raise ServerUnavailable(f"job `{_id_of(job)}`", expected=expected, found="none yet")
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return self._prediction(answer)

    def metadata(self) -> dict[str, Any]:
        """Return name, version, digest, inputs and outputs of the model, with a sample of each."""
        return self._object(self._get(f"{self._model_prefix()}/metadata"))

    def signature(self) -> Signature:
        """Return the inputs and outputs of the model."""
        metadata = self.metadata()
        return msgspec.convert({name: metadata[name] for name in ("inputs", "outputs")}, Signature)

    def labels(self) -> dict[str, str]:
        """Return the label of each class value. Raises `RemoteError` (404) if the model has none."""
        return self._object(self._get(f"{self._model_prefix()}/label"))

    def health(self) -> dict[str, Any]:
        """Return the health of the server; not ready (503) is an answer here, not an error."""
        answer = self._try_get("/health")
        body = self._decode(answer)
        if isinstance(body, dict) and "health" in body:
            return body
        self._check(answer)
        raise self._not_lading(answer)

    def models(self) -> list[dict[str, Any]]:
        """List the versions of the server: name, version, digest, state, default, purpose, owner."""
        body = self._object(self._get("/models"))
        versions = body.get("models")
        return versions if isinstance(versions, list) else []

    def close(self) -> None:
        """Close the connection; closing twice is no error."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._address!r}, model={self._model and str(self._model)!r})"

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows, or None without the extra ``hub``; the server is not asked."""
        model = str(self._model) if self._model is not None else ""
        facts = {"address": self._address, "model": model, "timeout_s": self._timeout_s}
        return notebook.fragment("client", facts)

    def _rows(self, data: Any) -> Any:
        """Return `data` as rows; only what may be one row needs the signature, which is asked for then."""
        return as_rows(self.signature(), data) if may_be_row(data) else data

    def _model_prefix(self) -> str:
        if self._prefix is None:
            names = [version["name"] for version in self.models() if version.get("default")]
            if not names:
                hint = "name one with `model=` (`--model` of `lading predict`)"
                raise ServerUnavailable(f"`{self._address}` has no default model", hint=hint)
            self._prefix = _prefix(Ref(names[0]))
        return self._prefix

    def _post(self, route: str, body: dict[str, Any]) -> Prediction:
        path, content = f"{self._model_prefix()}/{route}", _encoded(body)
        answer = self._send("POST", path, content=content, headers={"content-type": "application/json"})
        self._check(answer)
        return self._prediction(answer)

    def _job(self, answer: httpx.Response) -> Job:
        try:
            return msgspec.convert(self._object(answer), Job, strict=False)
        except msgspec.ValidationError:
            raise self._not_lading(answer) from None

    def _prediction(self, answer: httpx.Response) -> Prediction:
        document = self._object(answer)
        outputs = document.get("outputs", {})
        values = document["prediction"] if "prediction" in document else next(iter(outputs.values()), None)
        if not isinstance(values, list) or not isinstance(outputs, dict):
            raise self._not_lading(answer)
        names = ("x-lading-model", "x-lading-digest", "x-request-id")
        return Prediction(values, outputs, *(answer.headers.get(name, "") for name in names))

    def _get(self, path: str) -> httpx.Response:
        answer = self._try_get(path)
        self._check(answer)
        return answer

    def _try_get(self, path: str) -> httpx.Response:
        for left in reversed(range(CONNECT_TRIES)):
            try:
                return self._send("GET", path)
            except ServerUnavailable as error:
                # Only a request that never left may be sent again.
                if not left or not isinstance(error.__cause__, httpx.ConnectError):
                    raise
            time.sleep(0.1 * (CONNECT_TRIES - left))
        raise AssertionError("the last try returns or raises")

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **content)
        except httpx.TimeoutException as error:
            expected = f"an answer within {self._timeout_s:g} s"
            raise ServerUnavailable(f"`{self._address}`", expected=expected, found="none") from error
        except httpx.ConnectError as error:
            hint = "is the server running there? start one with `lading serve`"
            raise ServerUnavailable(f"`{self._address}` cannot be reached ({error})", hint=hint) from error
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise ServerUnavailable(f"`{self._address}`", expected="an answer", found=reason) from error

    def _check(self, answer: httpx.Response) -> None:
        """Raise the error that the server answered, in its own words if it is a lading server."""
        if answer.is_success:
            return
        body = self._decode(answer)
        document = body if isinstance(body, dict) else {}
        where = document.get("error") or document.get("reason")
        if not isinstance(where, str):
            where = f"`{answer.request.url.copy_with(userinfo=b'')}` answered {answer.status_code}"
        hint = document.get("hint")
        if answer.status_code == 503:
            raise ServerUnavailable(where, hint=hint)
        raise RemoteError(where, hint=hint, status=answer.status_code, code=str(document.get("code", "")))

    def _decode(self, answer: httpx.Response) -> Any:
        try:
            return msgspec.json.decode(answer.content)
        except ValueError:
            return None

    def _object(self, answer: httpx.Response) -> dict[str, Any]:
        body = self._decode(answer)
        if not isinstance(body, dict):
            raise self._not_lading(answer)
        return body

    def _not_lading(self, answer: httpx.Response) -> RemoteError:
        kind = answer.headers.get("content-type", "something else")
        hint = "is this a lading server?"
        return RemoteError(
            f"`{self._address}`",
            expected="JSON of lading",
            found=f"`{kind}`",
            hint=hint,
            status=answer.status_code,
        )


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        raise ValueRefused("`$.data`", expected="text", found="a lone surrogate") from None


def _id_of(job: str | Job) -> str:
    return job.id if isinstance(job, Job) else job


def plain(data: Any) -> Any:
    """Turn arrays, data frames and rows into the JSON value of ``data``, without changing a value.

    Raises `ValueRefused` with the path of the first value that JSON cannot hold.
    """
    try:
        return _plain(data)
    except _UnsendableError as error:
        path = "$.data" + "".join(reversed(error.path))
        raise ValueRefused(f"`{path}`", expected="a value that JSON can hold", found=error.value) from None


class _UnsendableError(Exception):
    """A value that JSON cannot hold; the lists around it append to its path, from the inside out."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.path: list[str] = []


def _plain(value: Any) -> Any:
    # The plain types come first: most values of a large list are one of them.
    kind = type(value)
    if kind is float:
        return _number(value)
    if value is None or kind is str or kind is bool:
        return value
    if kind is int or isinstance(value, int):
        return _integer(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, list | tuple):
        return _entries(value)
    return _members(value) if isinstance(value, Mapping) else _library_value(value)


def _integer(value: int) -> int | bool:
    # The server reads 64 bits, signed or not.
    if not -(2**63) <= value < 2**64:
        raise _UnsendableError(f"{int(value)}, which has more than 64 bits,")
    return int(value)


def _number(value: float) -> float | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        raise _UnsendableError("infinity" if value > 0 else "-infinity")
    return value


def _entries(values: Sequence[Any]) -> list[Any]:
    sent = []
    for at, item in enumerate(values):
        try:
            sent.append(_plain(item))
        except _UnsendableError as error:
            error.path.append(f"[{at}]")
            raise
    return sent


def _members(values: Mapping[Any, Any]) -> dict[str, Any]:
    sent = {}
    for key, item in values.items():
        try:
            sent[str(key)] = _plain(item)
        except _UnsendableError as error:
            error.path.append(f".{key}")
            raise
    return sent


def _library_value(value: Any) -> Any:
    """Convert polars and pandas frames, arrays, series, numpy scalars and pandas.NA."""
    # By their methods, so that no library has to be imported to recognise its values.
    kind = type(value)
    if hasattr(value, "to_dicts"):
        return _plain(value.to_dicts())
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return _records(value)
    if isinstance(value, np.ndarray) and _sendable(value):
        return value.tolist()
    # Bytes and dates have no such method, or one that returns the same type.
    for name in ("tolist", "to_list", "item"):
        if hasattr(value, name):
            inner = getattr(value, name)()
            if type(inner) is not kind:
                return _plain(inner)
    if kind.__name__ in ("NAType", "NaTType"):
        return None
    raise _UnsendableError(f"a `{kind.__name__}`")


def _records(frame: Any) -> Any:
    columns = [str(column) for column in frame.columns]
    for column in columns:
        if columns.count(column) > 1:  # pandas would drop all but the last of them.
            raise _UnsendableError(f"two columns called `{column}`")
    return _plain(frame.to_dict(orient="records"))


def _sendable(array: np.ndarray[Any, Any]) -> bool:
    """Return whether `array` holds only numbers that JSON can hold, so that no value has to be checked."""
    return array.dtype.kind in "iub" or (array.dtype.kind == "f" and bool(np.isfinite(array).all()))


def _prefix(ref: Ref) -> str:
    name = f"/models/{quote(ref.name)}"
    # Routes have names, versions and tags; an answer states its digest in a header.
    if ref.digest is not None:
        hint = f"pass `{ref.name}:<version>`"
        raise UsageError(f"model `{ref}`", expected="a name, version or tag", found="a digest", hint=hint)
    if ref.version is not None:
        return f"{name}/versions/{ref.version}"
    return name if ref.tag is None else f"{name}/tags/{quote(ref.tag)}"


def _bad_url(url: str, problem: str) -> InvalidSetting:
    address = url.rpartition("@")[2]  # A password stays out of the message.
    return InvalidSetting(f"server address `{address}`", expected="`http://host:port`", found=problem)
