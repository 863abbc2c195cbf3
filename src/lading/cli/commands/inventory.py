"""``lading inventory``: which servers run, on what, and which versions of which models they answer for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command, Group
from lading.cli.ui.parameters import json_option, open_registry, registry_option
from lading.errors import LadingError, ReplicaNotFound

if TYPE_CHECKING:
    from lading.registry import Registry
    from lading.replica import Replica, ReplicaModel

STALE_S = 86_400.0
"""From when on what a foreign server said, which nobody asks by itself, counts as stale."""

_NONE: Mapping[str, LadingError] = {}
_HEADER = (
    "replica",
    "pattern",
    "model",
    "digest",
    "state",
    "owner",
    "os",
    "python",
    "onnxruntime",
    "runs",
    "seen",
)


@click.group(
    "inventory",
    short_help="List the servers that run, and what they run.",
    cls=Group,
    invoke_without_command=True,
    examples=(
        "lading inventory",
        "lading inventory --package numpy",
        "lading inventory show web-1-5f0c",
        "lading inventory adopt http://10.0.0.7:8501 --model iris",
    ),
)
@click.option("--package", metavar="NAME", help="Show who has which version of a Python package.")
@click.option(
    "--stale", is_flag=True, help="Show only servers that are gone, and foreign ones not asked for a day."
)
@click.option("--ask", is_flag=True, help="Ask the foreign servers again first.")
@registry_option
@json_option
@click.pass_context
def inventory(
    ctx: click.Context, /, package: str | None, stale: bool, ask: bool, registry: str | None, as_json: bool
) -> None:
    """List every server: where it is, what it runs on, and its models with version and state.

    A server of lading registers itself and is marked as gone 15 s after it was last heard of. Others are
    listed as they were when last asked.
    """
    if ctx.invoked_subcommand is not None:
        return
    with open_registry(registry) as opened:
        failed = _ask_again(opened) if ask else {}
        found = sorted(opened.replicas(), key=lambda one: (one.gone, one.id))
    if stale:
        found = [one for one in found if is_stale(one)]
    if package is not None:
        _show_package(package, found, as_json=as_json)
    elif as_json:
        printing.as_json({"replicas": [_told(one, failed) for one in found]})
    elif found:
        printing.table(_HEADER, [row for one in found for row in _rows(one, failed)])
    else:
        printing.remark("no server is stale" if stale else "no server runs with this registry")


@inventory.command(
    "show",
    short_help="Show all that is known of one server.",
    cls=Command,
    examples=("lading inventory show web-1-5f0c", "lading inventory show web-1-5f0c --json"),
)
@click.argument("replica", metavar="ID")
@registry_option
@json_option
def show(replica: str, registry: str | None, as_json: bool) -> None:
    """Show all that is known of the server ID, or the one whose ID begins so."""
    with open_registry(registry) as opened:
        found = find(opened.replicas(), replica)
    if as_json:
        printing.as_json(_told(found))
        return
    printing.facts(_facts(found))
    for one in found.models:
        printing.data("")
        printing.facts(_model_facts(one))
    if found.packages:
        printing.data("")
        printing.table(("package", "version"), list(found.packages.items()))


@inventory.command(
    "adopt",
    short_help="List a server that is not lading's.",
    cls=Command,
    examples=(
        "lading inventory adopt http://10.0.0.7:8000",
        "lading inventory adopt http://10.0.0.7:8501 --model iris",
    ),
)
@click.argument("url")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="Model to ask for; may be repeated. Default: all it lists.",
)
@registry_option
@json_option
def adopt(url: str, models: tuple[str, ...], registry: str | None, as_json: bool) -> None:
    """Ask the server at URL what it is and serves, and list it as foreign.

    Asks over the routes that Triton, MLServer, KServe, TensorFlow Serving and MLflow have for everybody.
    TensorFlow Serving does not list its models: name them.
    """
    from lading.inventory import adopt as asked

    found = asked(url, models)
    with open_registry(registry) as opened:
        opened.beat(found)
    if as_json:
        printing.as_json(_told(found))
    else:
        printing.table(_HEADER, _rows(found))
    printing.remark(f"adopted `{found.id}`: {found.software}, {printing.count(len(found.models), 'model')}")


@inventory.command(
    "forget",
    short_help="Take a server off the list.",
    cls=Command,
    examples=("lading inventory forget 10.0.0.7:8501",),
)
@click.argument("replica", metavar="ID")
@registry_option
@json_option
def forget(replica: str, registry: str | None, as_json: bool) -> None:
    """Take the server ID off the list. One of lading that still runs comes back with its next beat."""
    with open_registry(registry) as opened:
        found = find(opened.replicas(), replica)
        opened.forget(found.id)
    if as_json:
        printing.as_json({"forgotten": found.id})
    else:
        printing.data(found.id)
    if found.pattern != "foreign" and not found.gone:
        printing.remark(f"`{found.id}` runs: it comes back with its next beat")


def find(replicas: Sequence[Replica], wanted: str) -> Replica:
    """Return the replica with this id, else the only one whose id begins so. Raises `ReplicaNotFound`."""
    exact = [one for one in replicas if one.id == wanted]
    near = exact or [one for one in replicas if one.id.startswith(wanted)]
    if len(near) == 1:
        return near[0]
    found = ", ".join(f"`{one.id}`" for one in near[:5]) or "none"
    raise ReplicaNotFound(
        f"server `{wanted}`",
        expected="one server of the inventory",
        found=found,
        hint="see `lading inventory`",
    )


def is_stale(replica: Replica) -> bool:
    """Return whether it is not known to run any more."""
    return replica.gone or (replica.pattern == "foreign" and replica.silent_s > STALE_S)


def standing(replica: Replica) -> str:
    """Say in a word how it stands with a server."""
    if replica.pattern == "foreign":
        return "foreign"
    return "running" if not replica.gone else "stopped" if replica.stopped_at else "gone"


def _ask_again(registry: Registry) -> dict[str, LadingError]:
    """Ask every foreign server again; give why not by the ids of those that stay as they were."""
    from lading.inventory import adopt as asked

    failed = {}
    for one in registry.replicas():
        if one.pattern != "foreign":
            continue
        models = [name for name in one.settings.get("models", "").split(",") if name]
        try:
            found = asked(one.address, models)
        except LadingError as error:
            failed[one.id] = error
            printing.remark(f"not asked: {error.message}")
        else:
            registry.beat(found)
    return failed


def _show_package(package: str, replicas: Sequence[Replica], *, as_json: bool) -> None:
    from lading.inventory.describe import normalized

    name = normalized(package)
    having = [one for one in replicas if name in one.packages]
    if as_json:
        rows = [{"id": one.id, "standing": standing(one), "version": one.packages[name]} for one in having]
        printing.as_json({"package": name, "replicas": rows})
    elif having:
        printing.table(
            ("replica", name, "seen"), [(one.id, one.packages[name], _seen(one)) for one in having]
        )
    else:
        printing.remark(f"no server has `{name}`")


def _told(replica: Replica, failed: Mapping[str, LadingError] = _NONE) -> dict[str, object]:
    """Return everything that is known of a server, how it stands with it, and why it was not asked again."""
    import msgspec

    why = {"not_asked": failed[replica.id].message} if replica.id in failed else {}
    return {"standing": standing(replica), **msgspec.structs.asdict(replica), **why}


def _rows(replica: Replica, failed: Mapping[str, LadingError] = _NONE) -> list[tuple[str, ...]]:
    where = (replica.id, replica.pattern)
    seen, error = _seen(replica), failed.get(replica.id)
    if error is not None:
        seen += f"; asked again: expected {error.expected}, found {error.found}"
    what = (replica.os, replica.python, replica.onnxruntime, replica.software, seen)
    models = [
        (_label(one), printing.short(one.digest), standing(replica) if replica.gone else one.state, one.owner)
        for one in replica.models
    ]
    return [
        (*where, *model, *what)
        for model in models or [("", "", standing(replica) if replica.gone else "", "")]
    ]


def _label(model: ReplicaModel) -> str:
    version = model.version_text or (str(model.version) if model.version else "")
    return f"{model.name}:{version}" if version else model.name


def _seen(replica: Replica) -> str:
    from lading.cli.ui import release_view as frames

    word = {"stopped": "stopped, ", "gone": "gone, "}.get(standing(replica), "")
    return f"{word}{frames.duration(replica.silent_s)} ago"


def _facts(one: Replica) -> list[tuple[str, str]]:
    return [
        ("id", one.id),
        ("seen", _seen(one)),
        ("host", one.host),
        ("address", " ".join(filter(None, (one.address, one.grpc_address)))),
        ("pattern", one.pattern),
        ("software", one.software),
        ("image", one.image or ""),
        ("os", " · ".join(filter(None, (one.os, one.kernel, one.arch)))),
        ("cpus", f"{one.cpus:g}" if one.cpus else ""),
        ("memory", printing.size(one.memory_bytes) if one.memory_bytes else ""),
        ("python", one.python),
        ("onnxruntime", f"{one.onnxruntime} ({', '.join(one.providers)})" if one.onnxruntime else ""),
        ("runtime", one.fingerprint),
        ("started", one.started_at),
        ("stopped", one.stopped_at),
        ("settings", ", ".join(f"{name}={value}" for name, value in one.settings.items())),
    ]


def _model_facts(one: ReplicaModel) -> list[tuple[str, str]]:
    return [
        ("model", _label(one)),
        ("digest", one.digest),
        ("state", f"{one.state}: {one.reason}" if one.reason else one.state),
        ("purpose", one.purpose),
        ("owner", one.owner),
        ("input", one.input_format),
        (
            "requests",
            f"{one.requests}, the last at {one.last_request_at}"
            if one.last_request_at
            else str(one.requests),
        ),
    ]
