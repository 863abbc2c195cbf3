"""The prediction log: a process writes it, and readers query it as tables, labels joined to their records.

`open_log` is what other parts read it by. Nothing here is imported by a serving process.
"""

from __future__ import annotations

from lading.monitor.log.reader import LogReader, open_log

__all__ = ["LogReader", "open_log"]
