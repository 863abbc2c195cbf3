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


@click.group(
    "hub",
    short_help="Show what runs, in a browser.",
    cls=Group,
    invoke_without_command=True,
    examples=(
        "lading hub",
        "lading hub --key-file hub.key",
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
) -> None:
    """Serve pages over the registry until SIGTERM or Ctrl-C.

    What needs somebody now, models and their versions, releases, monitoring, alarms, logged predictions,
    inventory and history.

    They need no JavaScript, and load nothing from elsewhere. Everybody who reaches the address can read
    them. `/api` has the same as JSON.

    Who signs in with the key can release a version, and promote, pause, resume, take out of traffic and roll
    back a release, with a reason that the history keeps. Without a key the pages change nothing.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options_before(ctx)
        return
    from lading.hub.key import read_key
    from lading.hub.serve import serve
    from lading.logs import set_up_logging
    from lading.settings import log_url

    key = read_key(key_file)
    set_up_logging(log_level)
    with open_registry(registry) as opened:
        serve(
            opened,
            host,
            port,
            log_level,
            lambda url: printing.info(f"the hub is at {url}; Ctrl-C stops it"),
            key,
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
