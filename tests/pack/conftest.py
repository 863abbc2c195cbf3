"""For tests of packing: modules of a user's project."""

from __future__ import annotations

import importlib
import sys
import textwrap

import pytest


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module into a folder that is on the path, and import it."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        names.append(name)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield write
    for name in names:
        sys.modules.pop(name, None)
