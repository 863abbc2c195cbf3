"""``lading rollout watch``: follow one release until it ends."""

from __future__ import annotations

import click

from lading.cli.ui import exit_codes, printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import NameType, json_option, open_registry, registry_option
from lading.cli.ui.release_view import end_line
from lading.cli.ui.watch import current_snapshot, print_snapshot, watch_until_end


@click.command(
    "watch",
    short_help="Watch a release until it ends.",
    cls=Command,
    examples=("lading rollout watch iris", "lading rollout watch iris --once"),
)
@click.argument("name", type=NameType())
@click.option("--once", is_flag=True, help="Show it once and exit.")
@registry_option
@json_option
@click.pass_context
def watch(ctx: click.Context, name: str, once: bool, registry: str | None, as_json: bool) -> None:
    """Watch the release of NAME until it ends; Ctrl-C stops watching, not the release.

    Into a pipe, it writes one line per change; with --json, one document per line. Exits with 0 if the
    version became live and with 1 if it did not.
    """
    with open_registry(registry) as opened:
        first = current_snapshot(opened, name)
        if once:
            print_snapshot(first, as_json=as_json)
            return
        ended = watch_until_end(opened, first, as_json=as_json)
    printing.info(end_line(ended))
    ctx.exit(exit_codes.DONE if ended.state == "live" else exit_codes.REFUSED)
