"""``lading hub``: pages that say what runs, and whether it is well."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from lading.cli.commands.hub_export import export
from lading.cli.ui import printing
from lading.cli.ui.command import Group
from lading.cli.ui.exit_codes import HintedUsageError
from lading.cli.ui.log_options import log_option
from lading.cli.ui.parameters import FILE, open_registry, registry_option
from lading.errors import UsageError


@click.group(
    "hub",
    short_help="Show what runs, in a browser.",
    cls=Group,
    invoke_without_command=True,
    examples=(
        "lading hub",
        "lading hub --key-file hub.key",
        "lading hub --access access.toml --tls-cert hub.pem --tls-key hub.key",
        "lading hub --port 9000 --registry postgresql://db/models",
        "lading hub export audit-2026",
    ),
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    help="Lowest level to log.",
)
@click.option(
    "--key-file",
    type=FILE,
    help="File with the key that people sign in with to act on releases; without one, pages change nothing. "
    "LADING_HUB_KEY has the key itself.",
)
@click.option(
    "--access",
    "access_file",
    envvar="LADING_ACCESS",
    type=click.Path(path_type=Path),
    help="Access file: who may read and act; people sign in with their own keys.  [env: LADING_ACCESS]",
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="PEM file of the certificate of the pages.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="PEM file of its private key.")
@log_option
@registry_option
@click.pass_context
def hub(
    ctx: click.Context,
    /,
    host: str,
    port: int,
    log_level: str,
    key_file: Path | None,
    log: str | None,
    registry: str | None,
    **files: Path | None,
) -> None:
    """Serve pages over the registry until SIGTERM or Ctrl-C.

    What needs somebody now, models and their versions, releases, monitoring, alarms, logged predictions,
    inventory and history.

    They need no JavaScript, and load nothing from elsewhere. Everybody who reaches the address can read
    them. `/api` has the same as JSON.

    Who signs in with the key can release a version, and promote, pause, resume, take out of traffic and roll
    back a release, with a reason that the history keeps. Without a key the pages change nothing.

    With an access file, people sign in with keys of their own: the role `read` sees the pages, `release` acts
    on the models that its key names, and the history has the name of the key.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options_before(ctx)
        return
    from lading.hub.key import read_key
    from lading.hub.listening import HubSecurity
    from lading.hub.serve import serve
    from lading.logs import set_up_logging
    from lading.settings import log_url

    access_file = files["access_file"]
    # Not read beside an access file: LADING_HUB_KEY may be set for another hub of the same machine.
    key = None if access_file is not None else read_key(key_file)
    if access_file is not None and key_file is not None:
        raise UsageError("`--access`", expected="an access file or `--key-file`", found="both")
    security = HubSecurity(*(str(path or "") for path in (access_file, files["tls_cert"], files["tls_key"])))
    set_up_logging(log_level)
    with open_registry(registry) as opened:
        serve(
            opened,
            host,
            port,
            log_level,
            lambda url: printing.info(f"the hub is at {url}; Ctrl-C stops it"),
            key,
            security=security,
            prediction_log=log_url(log, registry),
        )


def _refuse_options_before(ctx: click.Context) -> None:
    """Refuse options of the server before the name of a command, which would silently go without them."""
    for name in ctx.params:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            command = f"lading hub {ctx.invoked_subcommand}"
            hint = f"`{command} --help` lists the options of that command"
            problem = f"`{option}` before `{ctx.invoked_subcommand}`: expected after it, or not at all"
            raise HintedUsageError(problem, hint, ctx)


hub.add_command(export)
