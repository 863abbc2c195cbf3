"""``lading deploy ray``: a Serve config to stdout, or the application on a Ray cluster."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import BundleType, allow_option, json_option, open_registry, registry_option
from lading.cli.ui.plan_options import DurationType
from lading.errors import missing_extra
from lading.ref import Ref
from lading.settings import registry_url

if TYPE_CHECKING:
    from lading.deploy.ray_config import RayOptions, Replica


@click.command(
    "ray",
    short_help="Serve on a Ray cluster, as a Ray Serve application.",
    cls=Command,
    examples=(
        'eval "$(lading deploy ray --node-env)" && ray start --head --port=6379',
        "lading deploy ray iris:3 > iris.yaml && serve deploy iris.yaml",
        "lading deploy ray --max-replicas 8 --apply --ray-address 10.0.0.5:6379",
    ),
)
@click.argument("model", type=BundleType(), metavar="[DIR|REF]", required=False)
@click.option(
    "--name", default="lading", show_default=True, metavar="NAME", help="Name of the application in Serve."
)
@click.option(
    "--min-replicas", type=click.IntRange(min=1), default=1, show_default=True, help="Least replicas."
)
@click.option(
    "--max-replicas", type=click.IntRange(min=1), default=4, show_default=True, help="Most replicas."
)
@click.option(
    "--in-flight",
    type=click.FloatRange(min=0.1),
    default=4.0,
    show_default=True,
    metavar="NUMBER",
    help="Requests in flight per replica above which Serve adds one.",
)
@click.option(
    "--remove-after",
    "remove_after_s",
    type=DurationType(),
    default="2m",
    show_default=True,
    metavar="TIME",
    help="How long there must be less before Serve removes one.",
)
@click.option("--cpus", type=click.IntRange(min=1), default=1, show_default=True, help="CPUs per replica.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="HOST", help="Where each node's front listens."
)
@click.option(
    "--port", type=click.IntRange(1, 65_535), default=8000, show_default=True, help="Port of that front."
)
@click.option(
    "--route", default="/", show_default=True, metavar="PATH", help="Path that all of its paths begin with."
)
@click.option(
    "--fronts",
    type=click.Choice(["EveryNode", "HeadOnly"]),
    default="EveryNode",
    show_default=True,
    help="Where Serve has a front: on every node with a replica, or on the head alone.",
)
@click.option(
    "--node-env",
    is_flag=True,
    help="Print the variables that `ray start` needs on every node, as lines for a shell.",
)
@click.option("--apply", is_flag=True, help="Run it on the cluster instead of printing.")
@click.option(
    "--ray-address",
    default="",
    metavar="HOST:PORT",
    help="With `--apply`: the cluster.  [default: RAY_ADDRESS, else one on this machine]",
)
@allow_option
@registry_option
@json_option
def ray(model: Ref | Path | None, registry: str | None, **chosen: Any) -> None:
    """Write the Ray Serve config of an application whose replicas are whole servers; Serve scales them.

    Every node needs lading with the extra `ray`, and the variables of `--node-env`. Without a model,
    replicas follow the releases of the registry; DIR must exist on every node. A replica is ready once it
    has replayed the golden samples.
    """
    from lading.deploy.ray_config import RayOptions

    if chosen["ray_address"] and not chosen["apply"]:
        raise click.UsageError("`--ray-address` needs `--apply`")
    if chosen["node_env"]:
        _print_environment(as_json=chosen["as_json"])
        return
    names = ("name", "min_replicas", "max_replicas", "in_flight", "host", "port", "fronts", "remove_after_s")
    options = RayOptions(**{name: chosen[name] for name in names})
    replica = _replica(model, registry, chosen)
    if chosen["apply"]:
        _run(replica, options, chosen)
    else:
        _print(replica, options, as_json=chosen["as_json"])


def _print_environment(*, as_json: bool) -> None:
    from lading.deploy.ray_config import NODE_ENVIRONMENT

    if as_json:
        printing.as_json(NODE_ENVIRONMENT)
        return
    for name, value in NODE_ENVIRONMENT.items():
        # Quoted: a value of several lines is one for a shell all the same.
        printing.data(f"export {name}={shlex.quote(value)}")


def _replica(model: Ref | Path | None, registry: str | None, chosen: dict[str, Any]) -> Replica:
    from lading.deploy.ray_config import Replica
    from lading.runtime.python.host import this_host

    refs: tuple[str, ...] = ()
    if isinstance(model, Path):
        refs = (str(model.resolve()),)
    elif model is not None:
        with open_registry(registry) as opened:
            # By digest: replicas that start later must not serve what a tag means by then.
            refs = (f"{model.name}@{opened.resolve(model).digest}",)
    allow = this_host(chosen["allow"]).allow
    needs_registry = not isinstance(model, Path)
    return Replica(
        refs=refs,
        registry=_shared(registry) if needs_registry else "",
        cpus=chosen["cpus"],
        allow=allow,
        route=chosen["route"],
    )


def _shared(registry: str | None) -> str:
    """Return the registry for the replicas; empty if that would show its password to all of the cluster."""
    url = registry_url(registry)
    # A folder, which all nodes must share; they may have another working directory.
    if "://" not in url:
        return str(Path(url).resolve())
    if urlsplit(url).password is None:
        return url
    printing.info(
        "every node needs LADING_REGISTRY in its environment: its password is not written down here"
    )
    return ""


def _print(replica: Replica, options: RayOptions, *, as_json: bool) -> None:
    from lading.deploy.ray_config import config
    from lading.deploy.yamltext import document, plain

    made = config(replica, options)
    if as_json:
        printing.as_json(plain(made))
        return
    try:
        click.echo(printing.printable(document(made)), nl=False, color=False)
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        raise missing_extra("`lading deploy`", "kubernetes", error, instead="use `--json`") from None


def _run(replica: Replica, options: RayOptions, chosen: dict[str, Any]) -> None:
    try:
        from lading.deploy.ray_serve import run
    except ModuleNotFoundError as error:
        raise missing_extra("`lading deploy ray --apply`", "ray", error) from None
    url = run(replica, options, chosen["ray_address"])
    if chosen["as_json"]:
        printing.as_json({"application": options.name, "url": url})
    else:
        printing.data(url)
    printing.info(
        f"`{options.name}` runs; `serve status` shows its replicas, `serve delete {options.name}` ends it"
    )
