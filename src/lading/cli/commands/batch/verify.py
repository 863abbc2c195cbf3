"""``lading batch verify``: whether the output of a run is what its manifest says."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import (
    BundleType,
    DataPlaceType,
    allow_option,
    complete_directories,
    complete_files,
    json_option,
    open_named,
    registry_option,
)
from lading.errors import missing_extra
from lading.ref import Ref


@click.command(
    "verify",
    short_help="Check the output of a run.",
    cls=Command,
    examples=(
        "lading batch verify scored",
        "lading batch verify s3://data/scored",
        "lading batch verify scored --model iris:3 --input rows.parquet --again 10",
    ),
)
@click.argument("place", type=DataPlaceType(), metavar="DIR|URL", shell_complete=complete_directories)
@click.option(
    "--model", type=BundleType(), metavar="DIR|REF", help="Bundle that must have scored it; with `--input`."
)
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    type=DataPlaceType(),
    metavar="PATH|URL",
    shell_complete=complete_files,
    help="What must have been scored; repeatable, with `--model`.",
)
@click.option(
    "--again", type=click.IntRange(0), default=0, metavar="NUMBER", help="Parts to score again and compare."
)
@allow_option
@registry_option
@json_option
def verify(place: Path | str, **options: Any) -> None:
    """Check every file of a finished run: its bytes, its rows, and that no file is missing or too many.

    With the bundle and the inputs, also that it is these that were scored, every row once; and `--again`
    scores parts once more, whose bytes must come out the same.
    """
    # Half of a wish would be answered with half of a check that looks whole.
    if bool(options["model"]) != bool(options["inputs"]) or (options["again"] and not options["model"]):
        raise click.UsageError("expected `--model` and `--input` together, or neither and no `--again`")
    try:
        from lading.batch.checking import check_against, check_output
    except ModuleNotFoundError as error:
        raise missing_extra("`lading batch`", "batch", error) from error
    from lading.runtime.python.host import this_host

    model: Ref | Path | None = options["model"]
    if model is None:
        check = check_output(place)
    else:
        bundle, _ = open_named(model, options["registry"])
        # What is scored again is written elsewhere: a check changes nothing.
        with tempfile.TemporaryDirectory() as scratch:
            python = this_host(options["allow"])
            check = check_against(
                place, bundle, options["inputs"], Path(scratch), again=options["again"], python=python
            )
    if options["as_json"]:
        printing.as_json(check)
    manifest = check.manifest
    printing.info(f"{place} is whole: {check.files:,} files, {manifest.rows:,} rows of {manifest.model}")
    if manifest.where:
        left_out = f"{manifest.left_out:,} rows, as `{manifest.where}` was not true of them"
        printing.info(f"left out by --where: {left_out}")
    if model is None:
        printing.info("not checked: the bundle and the inputs; `--model` and `--input` name them")
    elif check.rescored:
        printing.info(f"{check.rescored:,} parts were scored again and have the same bytes")
