"""The process that reads large bodies and writes their answers, so that they hold up nobody else.

It has the routes of the server and no model: it asks which version a request addresses, returns the inputs,
and writes the answer to the outputs that it gets. It ends when the server closes its end of the connection.
"""

from __future__ import annotations

import signal
import socket
import sys
from typing import Any, cast

import msgspec

from lading.errors import BodyTooLarge
from lading.logs import set_up_logging
from lading.server.http import body_channel as wire
from lading.server.http.app import App
from lading.server.http.messages import Deferred, Request, Response
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.inline_runs import InlineRuns
from lading.server.inference.job import Job
from lading.server.inference.loaded import LoadedModel
from lading.server.inference.version import ServedVersion, State
from lading.server.process.compose import make_app
from lading.settings import ServeSettings

_MOST_VERSIONS = 64


class _AskingPlane(DataPlane):
    """A data plane without models: the server finds the version, and its model stays there."""

    def __init__(self, channel: wire.BodyChannel) -> None:
        super().__init__()
        self._channel = channel
        self._known: dict[tuple[str, int, str, tuple[str, ...]], ServedVersion] = {}

    def find(
        self, name: str | None = None, version: int | None = None, tag: str | None = None
    ) -> ServedVersion:
        """Have the server find a version, ready or not."""
        return self._served(wire.Find("find", name, version, tag))

    def resolve(
        self, name: str | None = None, version: int | None = None, tag: str | None = None
    ) -> ServedVersion:
        """Have the server find a version that answers this caller."""
        return self._served(wire.Find("resolve", name, version, tag))

    def has_tag(self, name: str, tag: str) -> bool:
        """Have the server say whether a version of the model has a tag."""
        answer = self._ask(wire.Find("has_tag", name, None, tag))
        assert isinstance(answer, wire.IsTag)
        return answer.exists

    def _ask(self, question: wire.Find) -> wire.Message:
        self._channel.send(question)
        answer, _ = self._channel.receive()
        if isinstance(answer, wire.Refused):
            raise answer.error()
        return answer

    def _served(self, question: wire.Find) -> ServedVersion:
        fact = self._ask(question)
        assert isinstance(fact, wire.Found)
        key = (fact.name, fact.version, fact.digest, fact.tags)
        served = self._known.get(key)
        if served is None:
            if len(self._known) >= _MOST_VERSIONS:
                self._known.clear()
            served = self._known[key] = _without_model(fact)
        return served


def _without_model(fact: wire.Found) -> ServedVersion:
    served = ServedVersion(fact.name, fact.version, fact.digest, State.READY, tags=fact.tags)
    nothing = cast("Any", None)  # Reading and writing need neither: a request that did would be a defect.
    runs = InlineRuns(fact.signature, learns=False)
    served.adopt(LoadedModel(nothing, nothing, fact.signature, fact.labels, nothing, (), b"", (), runs))
    return served


def _serve(channel: wire.BodyChannel) -> None:
    start, _ = channel.receive()
    assert isinstance(start, wire.Start)
    settings = msgspec.convert(start.settings, ServeSettings)
    set_up_logging(settings.log_level, log_format=settings.log_format)
    plane = _AskingPlane(channel)
    app = make_app(plane, settings)
    jobs: dict[int, Job] = {}  # that are read, and not written yet
    while True:
        message, buffers = channel.receive()
        request = Request("", "")
        try:
            if isinstance(message, wire.Read):
                for number in message.forgotten:
                    jobs.pop(number, None)
                request = _request(message, buffers)
                buffers.clear()
                outcome = _handle(app, plane, request)
                if isinstance(outcome, Job):
                    described, arrays = wire.describe(outcome.inputs)
                    outcome.inputs = {}
                    jobs[message.number] = outcome
                    channel.send(wire.Inputs(described, outcome.outputs, outcome.rows), arrays)
                    del arrays
                    continue
            else:
                assert isinstance(message, wire.Outputs)
                outcome = jobs.pop(message.number).encode(wire.arrays_of(message.arrays, buffers))
            channel.send(wire.Answer(outcome.status, outcome.content_type, outcome.headers), [outcome.body])
        except (EOFError, OSError):
            raise  # Of the channel: the server has gone.
        except MemoryError:
            error = BodyTooLarge("request body", expected="what fits into memory", found="more")
            channel.send(wire.Refused.of(error))
        except Exception as error:  # noqa: BLE001 - `as_refusal` logs what is no refusal
            channel.send(wire.Refused.of(app.pipeline.as_refusal(request, error)))


def _request(message: wire.Read, buffers: list[bytearray]) -> Request:
    request = Request(message.method, message.path, bytes(buffers[0]), message.headers, message.query)
    request.request_id = message.request_id
    return request


def _handle(app: App, plane: DataPlane, request: Request) -> Response | Job:
    request.route, request.params = app.router.find(request.method, request.path)
    outcome = request.route.handler(request, plane)
    assert not isinstance(outcome, Deferred)  # Only what predicts has its bodies read here.
    return outcome


def main() -> None:
    """Read bodies for the server at the other end of the socket whose descriptor is the only argument."""
    # Of a service manager, which may send it to all processes: the server drains, and ends this one.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = wire.BodyChannel(socket.socket(fileno=int(sys.argv[1])))
    try:
        _serve(channel)
    except (EOFError, OSError):
        return


if __name__ == "__main__":
    main()
