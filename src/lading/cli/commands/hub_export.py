"""``lading hub export``: the pages as files for people who have no hub, such as auditors."""

from __future__ import annotations

from pathlib import Path

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import NameType, json_option, open_registry, registry_option
from lading.errors import missing_extra


# A command of the group `hub`, which serves without one.
@click.command(
    "export",
    short_help="Write all pages as files that open from the disk.",
    cls=Command,
    examples=("lading hub export audit-2026", "lading hub export iris-audit --model iris --language ko"),
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--model",
    "models",
    type=NameType(),
    multiple=True,
    help="Only this model: its versions, release, monitoring, alarms and history. May be repeated.",
)
@click.option(
    "--language", type=click.Choice(["en", "ko"]), default="en", show_default=True, help="Of the pages."
)
@registry_option
@json_option
@click.pass_context
def export(
    ctx: click.Context,
    /,
    folder: Path,
    models: tuple[str, ...],
    language: str,
    registry: str | None,
    as_json: bool,
) -> None:
    """Write every page to FOLDER, with its data as JSON beside it.

    The complete history of each model is in it as JSON and CSV, with whether its chain is whole; the exit
    code is 1 if one is not. `index.html` comes first, `SHA256SUMS` has the hash of every file.

    FOLDER is empty, not there, or has an earlier export, which is replaced. It is complete or not there.
    """
    try:
        from lading.hub.export import export as write
    except ModuleNotFoundError as error:
        raise missing_extra("`lading hub export`", "hub", error) from error

    with open_registry(registry) as opened, printing.steps("exporting") as step:
        done = write(
            opened,
            folder,
            models,
            language=language,
            on_page=lambda count, path: step(f"{count} pages, {path}"),
        )
    if as_json:
        printing.as_json({"folder": str(folder), "export": done})
    else:
        printing.data(str(folder / "index.html"))
        printing.info(f"{printing.plural(done.pages, 'page')} of {done.registry}, read {done.read_at}")
    broken = [model for model in done.models if model.broken]
    for model in broken:
        printing.info(f"the history of `{model.name}` is not whole: {model.broken}")
    if broken:
        ctx.exit(1)
