"""The contract of a gRPC service: its methods over the one data plane, and the status of every error.

The services are in `protocols`; `server` answers their calls, `descriptors` has their messages. A method
decodes a message into a `Job` or answers directly, as a REST handler does; it never runs a model and never
touches a socket. Imported only by a process that serves gRPC, because importing grpcio takes long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from lading import errors
from lading.access import Rule
from lading.errors import LadingError

if TYPE_CHECKING:
    from lading.server.inference.dataplane import DataPlane
    from lading.server.inference.job import Job
    from lading.server.metrics import Metrics

STATUS: dict[type[LadingError], grpc.StatusCode] = {
    errors.UsageError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.BundleError: grpc.StatusCode.UNAVAILABLE,
    errors.FeedError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ImageInvalid: grpc.StatusCode.UNAVAILABLE,
    errors.ConversionError: grpc.StatusCode.INTERNAL,
    errors.VerificationError: grpc.StatusCode.UNAVAILABLE,
    errors.InputError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.MethodRefused: grpc.StatusCode.UNIMPLEMENTED,
    errors.MediaTypeRefused: grpc.StatusCode.INVALID_ARGUMENT,
    errors.AnswerTypeRefused: grpc.StatusCode.INVALID_ARGUMENT,
    errors.CallerUnknown: grpc.StatusCode.UNAUTHENTICATED,
    errors.AccessError: grpc.StatusCode.PERMISSION_DENIED,
    errors.OriginRefused: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotSupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.LimitError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.ConflictError: grpc.StatusCode.ABORTED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.RemoteError: grpc.StatusCode.UNAVAILABLE,
    errors.RunError: grpc.StatusCode.INTERNAL,
}
"""gRPC status by error; a class that is not listed has the status of its nearest base class."""


def status_of(error: LadingError) -> grpc.StatusCode:
    """Return the gRPC status of `error`."""
    return errors.nearest(STATUS, error)


def details_of(error: LadingError) -> str:
    """Return what the client reads: the sentence, and the hint on a line of its own."""
    return str(error)


class Call(NamedTuple):
    """What a method may use: the data plane as its caller sees it, and the counts."""

    plane: DataPlane
    metrics: Metrics


Answer = Callable[[Any, Call], "Any | Job"]
"""Takes the request message; returns the response message, or a job whose ``encode`` returns it."""


def no_model(_message: Any) -> tuple[str, ...]:
    """Return the models of a message that is about none."""
    return ()


Frame = Callable[[Any, str, Any, Mapping[str, str]], Any]
"""Makes the message of a stream that answers one request.

Takes the response, or None and why the request was refused; the request; and what the answer states about
itself (model, digest, request id).
"""


@dataclass(frozen=True, slots=True)
class Method:
    """One method: its name on the wire and the function that answers a request.

    ``rule`` is who may call it, where access is controlled, and ``models`` returns the models that a message
    is about. With a ``frame`` it is a stream of requests, each answered by one framed response; else it is
    unary.
    """

    name: str
    answer: Answer
    rule: Rule
    models: Callable[[Any], tuple[str, ...]] = no_model
    frame: Frame | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """One service: its full name in the protos, and its methods.

    ``protocol`` labels its counts. Methods of the proto that are not listed answer UNIMPLEMENTED.
    ``protos`` names the descriptor set under ``_proto`` that describes it. ``details`` returns the text of an
    error, for protocols whose clients expect other words than lading's own.
    """

    name: str
    protocol: str
    protos: str
    methods: tuple[Method, ...]
    details: Callable[[LadingError], str] = details_of
