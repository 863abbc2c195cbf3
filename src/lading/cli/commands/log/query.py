"""``lading log query``: SQL over logged predictions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.log_options import MODEL, log_option, opened_log
from lading.cli.ui.parameters import json_option, registry_option

if TYPE_CHECKING:
    from lading.monitor.log.export import Rows

_MOST_SHOWN = 1000


@click.command(
    "query",
    short_help="Run SQL over logged predictions.",
    cls=Command,
    examples=(
        'lading log query iris "select hour, count(*) from log group by hour order by hour"',
        'lading log query iris "select avg(label = outputs.label) from log where label is not null"',
        'lading log query iris "select * from log" --output iris.parquet',
    ),
)
@click.argument("model", type=MODEL)
@click.argument("sql")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    help="Form of the result; JSON is an object a line.  [default: that of the file, else table]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="File to write the result to.",
)
@log_option
@registry_option
@json_option
def query(model: str, sql: str, form: str | None, output: Path | None, **options: Any) -> None:
    """Run a SELECT over the table `log`: the records of MODEL, with the labels that came as feedback.

    A record is a row of a request: `id`, `row`, `time`, `version`, `digest`, `release`, `side`, `replica`,
    `status`, `error`, `latency_s`, `warnings`, `inputs`, `outputs`, `label`, `labelled_at`, `date`, `hour`.
    Columns of inputs and outputs are fields: `inputs."petal width (cm)"`. A condition on `date`, `hour` or
    `time` reads only the files of that time. The SQL is DuckDB's; it reads nothing but this log, and changes
    nothing.
    """
    form = form or ("json" if options["as_json"] else _form_of(output))
    if form == "parquet" and output is None:
        raise click.UsageError("expected `--output` with `--format parquet`")
    where = (options["log"], options["registry"], "lading log query")
    with opened_log(*where) as opened, opened.tables(model) as tables:
        rows = tables.query(sql)
        if form == "table":
            _print_table(rows, output)
        else:
            _write(rows, form, output)


def _form_of(output: Path | None) -> str:
    suffix = output.suffix.lstrip(".") if output is not None else ""
    return suffix if suffix in ("csv", "json", "parquet") else "csv" if output is not None else "table"


def _print_table(rows: Rows, output: Path | None) -> None:
    from lading.monitor.log.export import text_rows

    if output is not None:
        raise click.UsageError("expected `csv`, `json` or `parquet` with `--output`")
    names, texts, more = text_rows(rows, _MOST_SHOWN)
    printing.table(names, texts)
    if more:
        printing.info(f"more than {_MOST_SHOWN} rows: `--format csv` or `--output FILE` writes all")


def _write(rows: Rows, form: str, output: Path | None) -> None:
    from lading.monitor.log.export import write_csv, write_json, write_parquet

    if form == "parquet":
        assert output is not None  # Checked before the query ran.
        count = write_parquet(rows, output)
    else:
        write: Any = write_csv if form == "csv" else write_json
        if output is None:
            write(rows, sys.stdout)
            return
        with output.open("w", encoding="utf-8", newline="") as file:
            count = write(rows, file)
    printing.info(f"{printing.plural(count, 'row')} in {output}")
