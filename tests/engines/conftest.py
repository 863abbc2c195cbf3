"""Tests of frameworks with an environment of their own: a folder runs in `.venv-engines/<its name>` only."""

import sys
from pathlib import Path

_FOLDERS = [each.name for each in Path(__file__).parent.iterdir() if each.is_dir()]
collect_ignore = [name for name in _FOLDERS if name != Path(sys.prefix).name]
