"""Tests of a framework that has an environment of its own: each folder runs in `.venv-engines/<its name>` only."""

import sys
from pathlib import Path

_HERE = Path(__file__).parent
collect_ignore = [each.name for each in _HERE.iterdir() if each.is_dir() and each.name != Path(sys.prefix).name]
