"""What the commands of the prediction log share: its options, moments in time, and opening it."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui.parameters import NameType, complete_directories
from lading.clock import unix_time
from lading.errors import missing_extra
from lading.settings import log_url

if TYPE_CHECKING:
    from lading.monitor.log.reader import LogReader

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

MODEL = NameType()


class MomentType(click.ParamType):  # type: ignore[type-arg]
    """A moment: a span before now (``90s``, ``30m``, ``2h``, ``1d``, ``1w``) or an ISO time."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the Unix time."""
        if isinstance(value, float):
            return value
        span = _SPAN.fullmatch(str(value).strip())
        if span is not None:
            return time.time() - float(span[1]) * _UNITS_S[span[2]]
        try:
            # An ISO time without a zone is in UTC, as everything that lading writes.
            text = str(value)
            return unix_time(text if re.search(r"(Z|[+-]\d\d:?\d\d)$", text) else f"{text}+00:00")
        except ValueError:
            self.fail(f"expected a span such as `2h` or `1d`, or an ISO time, found `{value}`", param, ctx)


log_option = click.option(
    "--log",
    metavar="URL",
    shell_complete=complete_directories,
    help="Prediction log: a folder or s3://…  [env: LADING_LOG; default: `log` in the registry's folder]",
)
since_option = click.option(
    "--since", type=MomentType(), metavar="TIME", help="Earliest record: `2h` or `1d` ago, or an ISO time."
)
until_option = click.option(
    "--until", type=MomentType(), metavar="TIME", help="Latest record, written as for `--since`."
)


def where_option(text: str, *, required: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option ``--where`` of a command that looks at some records only."""
    return click.option("--where", default="", required=required, metavar="SQL", help=text)


@contextlib.contextmanager
def opened_log(url: str | None, registry: str | None, command: str) -> Iterator[LogReader]:
    """Open the prediction log within; raises `ExtraMissing` for `command` if its libraries are missing."""
    try:
        from lading.monitor.log.reader import open_log
    except ModuleNotFoundError as error:
        if (error.name or "lading").startswith("lading"):
            raise
        raise missing_extra(f"`{command}`", "monitor", error) from None
    yield open_log(log_url(url, registry))
