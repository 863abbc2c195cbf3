"""``lading batch run``: all rows of files, scored once, with those that do not fit set aside."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.batch.engines.named import ENGINES
from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import (
    BundleType,
    DataPlaceType,
    ShareType,
    allow_option,
    complete_directories,
    complete_files,
    current_actor,
    json_option,
    open_admitted,
    open_registry,
    policy_option,
    registry_option,
)
from lading.errors import UsageError, missing_extra
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.batch.recording import Progress, Recorder
    from lading.batch.run import BatchRun

_MOST_REASONS = 5
_LOG_EVERY_S = 30.0


@click.command(
    "run",
    short_help="Score all rows of files into a folder.",
    cls=Command,
    examples=(
        "lading batch run iris:3 --input rows.parquet --output scored",
        "lading batch run iris:live --input day/ --output scored --keep customer_id --max-rejected 1%",
        "lading batch run iris:live --input day/ --output scored --log /srv/models/log --monitor",
        "lading batch run iris:3 -i s3://data/day -o s3://data/out --where 'age between 30 and 40'",
    ),
)
@click.argument("model", type=BundleType(), metavar="DIR|REF")
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    required=True,
    type=DataPlaceType(),
    metavar="PATH|URL",
    shell_complete=complete_files,
    help="File of rows, or folder of such files, here or at s3://…; repeatable.",
)
@click.option(
    "-o",
    "--output",
    "place",
    required=True,
    type=DataPlaceType(),
    metavar="DIR|URL",
    shell_complete=complete_directories,
    help="Folder to write to, here or at s3://…; a run that was begun there goes on.",
)
@click.option(
    "--keep", "keep", multiple=True, metavar="COLUMN", help="Column to copy to the output; repeatable."
)
@click.option(
    "--where",
    metavar="EXPRESSION",
    help="Score only rows for which this is true, such as `country = 'KR' and amount > 10`.",
)
@click.option(
    "--engine",
    type=click.Choice(list(ENGINES)),
    default="local",
    show_default=True,
    help="What divides the work: processes of this machine, a Ray cluster, or Spark.",
)
@click.option(
    "--ray-address",
    default="",
    metavar="HOST:PORT",
    help="Ray cluster.  [default: `RAY_ADDRESS`, else the one of this machine]",
)
@click.option(
    "--spark-master",
    default="",
    metavar="URL",
    help="Spark's master, or `sc://…`.  [default: `SPARK_REMOTE`, `spark-submit`, else this machine]",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 1024),
    metavar="NUMBER",
    help="Processes that score, each with a model of its own.  [default: one for each CPU]",
)
@click.option(
    "--max-rejected",
    type=ShareType(),
    metavar="SHARE",
    help="Stop if more rows than this do not fit, such as `1%`.  [default: no limit]",
)
@click.option("--refuse-drift", is_flag=True, help="Publish nothing if a column has drifted.")
@click.option(
    "--log",
    metavar="DIR",
    shell_complete=complete_directories,
    help="Prediction log that gets the rows, as if they had been asked; each once.",
)
@click.option(
    "--log-share",
    type=ShareType(),
    default="100%",
    show_default=True,
    metavar="SHARE",
    help="Share of the rows that is logged; with `--log`.",
)
@click.option(
    "--monitor", is_flag=True, help="Count the rows in the model's monitoring, as if they had been asked now."
)
@allow_option
@policy_option
@registry_option
@json_option
def run(model: Ref | Path, **options: Any) -> None:
    """Score every row of the files with a bundle, into Parquet files below DIR or URL.

    Reads .parquet, .arrow, .csv and .jsonl (these also as .gz); columns go by their names. Rows that do not
    fit are written to DIR/rejected with their reason. The output counts once DIR/manifest.json exists: before
    that nothing is published, and the same command goes on where a run was stopped.
    """
    try:
        from lading.batch.run import Options, report_values, run_batch
    except ModuleNotFoundError as error:
        raise missing_extra("`lading batch`", "batch", error) from error
    from lading.runtime.python.host import this_host

    # An empty variable of a shell must not score what somebody wanted to leave out.
    if options["where"] is not None and not options["where"].strip():
        raise click.UsageError("expected an expression with `--where`, found none")
    if options["monitor"] and isinstance(model, Path):
        raise click.UsageError("expected a model of a registry with `--monitor`, found a folder")
    # Fetched once, here: the processes that score open it by its digest.
    bundle, name = open_admitted(model, options["registry"], options["policy"], "batch")
    settings = Options(
        engine=options["engine"],
        address=_address(options["engine"], options["ray_address"], options["spark_master"]),
        keep=tuple(options["keep"]),
        where=options["where"] or "",
        processes=options["processes"] or 0,
        max_rejected=options["max_rejected"],
        refuse_drift=options["refuse_drift"],
        log=options["log"] or "",
        log_share=options["log_share"],
    )
    with _progress() as progress, _recorder(model, options, progress) as recorder:
        done = run_batch(
            bundle,
            options["inputs"],
            options["place"],
            settings,
            model=name,
            python=this_host(options["allow"]),
            recorder=recorder,
        )
    if options["as_json"]:
        printing.as_json(report_values(done))
    if recorder.missed is not None:
        printing.info(f"not in the registry: {recorder.missed}")
    _tell(done, options["place"])


def _address(engine: str, ray: str, spark: str) -> str:
    """Return where the engine's cluster is. Raises `UsageError` for the address of another engine's."""
    addresses = {"ray": ("--ray-address", ray), "spark": ("--spark-master", spark)}
    for other, (option, address) in addresses.items():
        if address and other != engine:
            raise UsageError(f"`{option}`", expected=f"`--engine {other}`", found=f"`--engine {engine}`")
    return addresses.get(engine, ("", ""))[1]


@contextmanager
def _recorder(model: Ref | Path, options: dict[str, Any], progress: Progress) -> Iterator[Recorder]:
    """Have the registry that a model comes from know of the run; of a bundle's folder none does."""
    from lading.batch.recording import Recorder

    if isinstance(model, Path):
        yield Recorder(progress=progress)
        return
    with open_registry(options["registry"]) as opened:
        host = socket.gethostname()
        yield Recorder(
            opened.runs,
            actor=current_actor(None),
            host=host,
            progress=progress,
            monitoring=opened.monitoring if options["monitor"] else None,
        )


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show how many parts are done, how fast, and how long the rest will take.

    A terminal shows each part; a log of cron, Airflow or Kubernetes gets a line every half minute.
    """
    with printing.steps("scoring") as step:
        began = logged = time.monotonic()

        def progress(done: int, parts: int, rows: int) -> None:
            nonlocal logged
            # By parts: how many rows the rest has is not known of every kind of file.
            now = time.monotonic()
            left = (now - began) / done * (parts - done)
            line = f"{done:,} of {parts:,} parts, {rows / (now - began):,.0f} rows/s, {left:,.0f} s left"
            step(line)
            if now - logged >= _LOG_EVERY_S and not sys.stderr.isatty():
                printing.info(line)
                logged = now

        yield progress


# For people; with `--json` the document on stdout has all of it.
def _tell(done: BatchRun, place: Path | str) -> None:
    manifest = done.manifest
    rate = f" at {done.rows_per_s:,.0f} rows/s" if done.rows_per_s else ", all of them before"
    printing.info(f"scored {manifest.scored:,} of {manifest.rows:,} rows of {manifest.model}{rate}")
    if done.resumed and done.seconds:
        printing.info(f"{done.resumed:,} parts had been scored before")
    for machine in done.refused:
        printing.info(f"refused: {machine.node}, {machine.reason}")
    for name in done.left_out[:_MOST_REASONS]:
        printing.info(f"left out: `{name}` is no file of rows")
    if len(done.left_out) > _MOST_REASONS:
        printing.info(f"left out: {len(done.left_out) - _MOST_REASONS:,} more files")
    if manifest.where:
        printing.info(f"left out by --where: {manifest.left_out:,} rows")
    if manifest.rejected:
        printing.info(f"set aside: {manifest.rejected:,} rows, in {place}/rejected")
        for reason, count in manifest.reasons[:_MOST_REASONS]:
            printing.info(f"  {count:,} × {reason}")
    if done.failed:
        printing.info(f"input checks: rows that fail {len(done.failed):,} of them are scored all the same")
        for rule, count in done.failed[:_MOST_REASONS]:
            printing.info(f"  {count:,} × {rule}")
    _tell_drift(done)
    if done.logged is not None:
        earlier = f", {done.logged.before:,} of them before" if done.logged.before else ""
        printing.info(f"in the prediction log: {done.logged.records:,} rows{earlier}")
    printing.info(f"written: {place}")


def _tell_drift(done: BatchRun) -> None:
    if not done.drift:
        printing.info("drift: not known; the bundle has no profile of its training data")
        return
    # A table of all columns would hide the few that matter; `--json` has it.
    drifted = [column for column in done.drift if column.drifted]
    if not drifted:
        printing.info(f"drift: none of {len(done.drift):,} columns")
        return
    printing.info(f"drift: {len(drifted):,} of {len(done.drift):,} columns are not as in training")
    for column in sorted(drifted, key=lambda each: -each.psi)[:_MOST_REASONS]:
        printing.info(f"  {column.column}: PSI {column.psi:.2f}, {column.at_random:.4f} is usual at random")
