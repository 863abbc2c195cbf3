"""``lading log show``: the last logged predictions, and those that come."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.log_options import MODEL, log_option, opened_log, since_option, where_option
from lading.cli.ui.parameters import json_option, registry_option
from lading.clock import iso_time, unix_time

if TYPE_CHECKING:
    from lading.monitor.log.reader import LogReader

_FOLLOW_S = 1.0
_MOST_VALUES = 6
_OVERLAP_S = 5.0


@click.command(
    "show",
    short_help="Show the last logged predictions.",
    cls=Command,
    examples=(
        "lading log show iris",
        "lading log show iris --since 1h --where \"error is not null or side = 'candidate'\"",
        "lading log show iris --follow",
    ),
)
@click.argument("model", type=MODEL)
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="Most records.")
@since_option
@where_option("Condition on the columns of `lading log query`.")
@click.option("-f", "--follow", is_flag=True, help="Go on with the records that come, until Ctrl-C.")
@log_option
@registry_option
@json_option
def show(model: str, **options: Any) -> None:
    """Show the last logged predictions of MODEL, the newest last: a record for each row of a request."""
    with opened_log(options["log"], options["registry"], "lading log show") as opened:
        records = _records(opened, model, options["since"], options["where"], options["last"])
        if options["as_json"]:
            for record in records:
                printing.as_json(record, indent=0)
        elif records:
            printing.table(
                ("time", "request", "version", "status", "inputs", "outputs", "label"), _rows(records)
            )
        else:
            printing.info(f"no record of `{model}` matches")
        if options["follow"]:
            _follow(opened, model, options, records)


def _follow(opened: LogReader, model: str, options: dict[str, Any], records: list[dict[str, Any]]) -> None:
    def recent(latest: float) -> dict[tuple[Any, ...], dict[str, Any]]:
        # Records of several workers do not come in the order of their times: the last seconds are read again.
        rows = _records(opened, model, latest - _OVERLAP_S, options["where"], 0)
        return {(row["id"], row["row"], row["side"]): row for row in rows}

    latest = unix_time(records[-1]["time"]) if records else time.time()
    known = recent(latest)
    while True:
        time.sleep(_FOLLOW_S)
        now = recent(latest)
        for key in now.keys() - known.keys():
            latest = max(latest, unix_time(now[key]["time"]))
        for key, record in now.items():
            if key in known:
                continue
            if options["as_json"]:
                printing.as_json(record, indent=0)
            else:
                printing.data("  ".join(_rows([record])[0]))
        known = now


def _records(
    opened: LogReader, model: str, since: float | None, where: str, last: int
) -> list[dict[str, Any]]:
    with opened.tables(model, since) as tables:
        records = [record for batch in tables.latest(where, last) for record in batch.to_pylist()]
    for record in records:
        for name in ("time", "labelled_at"):
            if record[name] is not None:
                record[name] = iso_time(record[name].timestamp(), "milliseconds")
    return records[::-1]


def _rows(records: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            record["time"],
            f"{record['id']}[{record['row']}]" if record["row"] else record["id"],
            str(record["version"] or "") + (f" {record['side']}" if record["side"] != "live" else ""),
            record["error"] or record["status"],
            _short(record["inputs"]),
            _short(record["outputs"]),
            record["label"] or "",
        )
        for record in records
    ]


def _short(values: Any) -> str:
    """Return the first values of a record, as many as a line takes."""
    if not values:
        return ""
    items = [f"{name}={_number(value)}" for name, value in list(values.items())[:_MOST_VALUES]]
    return " ".join(items) + (" …" if len(values) > _MOST_VALUES else "")


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text if len(text) <= 24 else f"{text[:23]}…"
