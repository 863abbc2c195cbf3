"""The command line: stdout is data, stderr is for people, exit codes are for scripts.

Each other file is one group of commands and imports what it works with inside the command, so that
``lading --help`` and ``lading serve`` load nothing they do not use. Holds no logic of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code; says what went wrong on stderr and raises nothing."""
    from lading.cli.group import group
    from lading.cli.ui import exit_codes as exits
    from lading.settings import debugging

    try:
        code = group.main(arguments, prog_name="lading", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        return exits.broken_pipe()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the edge: each becomes a sentence and a code
        return exits.report(error, debug=debugging())
    return code if isinstance(code, int) else exits.DONE
