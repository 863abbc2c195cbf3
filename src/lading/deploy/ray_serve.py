"""lading's server as replicas of a Ray Serve application, which Ray places, watches and scales.

Each replica is a whole server (`child_server`) behind Ray's HTTP front, ready once it has replayed the golden
samples on its node. Starts no cluster. gRPC is not passed on: Serve's front for it needs a class a protocol.
"""

from __future__ import annotations

import re
from typing import Any

from ray import serve
from ray.exceptions import RayError

from lading.batch.on_ray.cluster import connected
from lading.deploy.child_process import Scope
from lading.deploy.child_server import ChildServer, Receive, Send
from lading.deploy.ray_config import DEPLOYMENT, DRAIN_S, RayOptions, Replica, config
from lading.deploy.whole_answers import write_answers_whole
from lading.deploy.yamltext import plain
from lading.errors import RunFailed, one_line

_ERROR = re.compile(r"lading\.errors\.\w+: (.+)")
_OF_SERVE = (b"x-request-id",)
"""Serve reads this header, or makes it, and writes it into every answer, as the server does."""


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer by the server of the replica that this process is."""
    if scope["type"] == "lifespan":
        # Before there is a replica: what has to be started is started by its constructor.
        await _begin_and_end(receive, send)
        return
    await serve.get_replica_context().servable_object.server.answer(scope, receive, send)


async def _begin_and_end(receive: Receive, send: Send) -> None:
    """Answer an ASGI host that begins or ends: nothing has to be started or stopped for it."""
    for moment in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{moment}.complete"})


def _application() -> Any:
    # A function, so that it is found by its name on every node, and not sent there.
    return _answer


class LadingServer:
    """One replica: its server is a child process, so that what a model does cannot end this one."""

    async def __init__(self, replica: dict[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits it.
        chosen = Replica(**replica)
        # The front speaks to uvicorn in this process.
        write_answers_whole()
        self.server = ChildServer(chosen.refs, chosen.options(), without=_OF_SERVE)
        try:
            # Until this returns, Serve sends no request here; what it raises is shown by `serve status`.
            await self.server.until_ready()
        except BaseException:
            await self.server.stop(0)
            raise

    async def check_health(self) -> None:
        """Raise if the server does not answer, also while it starts again.

        The front passes such a replica by; Serve replaces it if it raises three times in turn.
        """
        await self.server.check_alive()

    async def __del__(self) -> None:
        """Drain the server; Serve has waited for the requests in flight before."""
        await self.server.stop(DRAIN_S)


_DEPLOYMENT: Any = serve.deployment(name=DEPLOYMENT)(serve.ingress(_application)(LadingServer))


def app(args: dict[str, Any]) -> serve.Application:
    """Build the application from the arguments of a Serve config (`ray_config.config`)."""
    return _DEPLOYMENT.bind(args)


def run(replica: Replica, options: RayOptions, address: str = "") -> str:
    """Run the application on the cluster at `address`, once all replicas are ready, and return its URL.

    One of the same name is replaced, a few replicas at a time. Raises `ServerUnavailable` without a cluster,
    `RunFailed` if a replica does not become ready.
    """
    # The same config that is printed, so that both ways make the same application.
    made = plain(config(replica, options))
    (application,) = made["applications"]
    (deployment,) = application["deployments"]
    with connected(address):
        try:
            serve.start(proxy_location=made["proxy_location"], http_options=made["http_options"])
            chosen = {name: value for name, value in deployment.items() if name != "name"}
            bound = _DEPLOYMENT.options(**chosen).bind(application["args"])
            serve.run(bound, name=options.name, route_prefix=application["route_prefix"])
        except (RayError, RuntimeError, TimeoutError) as error:
            hint = "`serve status` and the logs of the replicas, in /tmp/ray/session_latest/logs, say more"
            where, failure = f"application `{options.name}`", _reason(options.name) or one_line(error)
            raise RunFailed(where, expected="to run", found=failure, hint=hint) from error
    return f"http://{options.host}:{options.port}{replica.route}"


def _reason(name: str) -> str:
    """Return why a replica has failed, in lading's words; empty if Serve has none of them."""
    application = serve.status().applications.get(name)
    messages = [each.message for each in application.deployments.values()] if application else []
    # Serve has it as the text of a traceback, which ends with the error.
    reasons = [match for message in messages for match in _ERROR.findall(message)]
    return reasons[-1] if reasons else ""
