"""The command line: stdout is data, stderr is for people, exit codes are for scripts.

A file of ``commands`` is a command, and imports what it works with when it runs, so that ``lading --help``
and ``lading serve`` load nothing that they do not use. There is no logic of its own here.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; prints errors on stderr and raises nothing."""
    from lading.cli.group import group
    from lading.cli.ui import exit_codes
    from lading.settings import debugging

    _write_in_any_encoding()
    try:
        code = group.main(arguments, prog_name="lading", standalone_mode=False)
        # Here rather than at exit, where Python would only print that it failed.
        sys.stdout.flush()
    except BrokenPipeError:
        return exit_codes.broken_pipe()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the edge: each becomes a sentence and a code
        return exit_codes.report(error, debug=debugging())
    return code if isinstance(code, int) else exit_codes.DONE


def _write_in_any_encoding() -> None:
    """Show what the encoding of stdout lacks as an escape sequence; Python does so for stderr by itself."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
