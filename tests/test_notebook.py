"""How an object shows itself in a notebook; what it shows is in tests/hub/test_notebook.py."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lading import notebook
from lading.signature import Signature, Tensor

ONE = Tensor(name="x", dtype="float32", shape=("batch",))


@pytest.mark.parametrize("library", ["jinja2", "markupsafe"])
def test_without_the_extra_an_object_is_its_one_line(library):
    code = f"""
import sys
sys.modules[{library!r}] = None  # As if it were not installed.
from lading import notebook
assert notebook.fragment("signature", object()) is None
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_line_is_printable_and_bounded():
    assert notebook.line("a\x1b[31m\nb\u202e") == "a\\x1b[31m\\nb\\u202e"
    assert notebook.line("x" * 10_000) == "x" * 500 + "…"


def test_with_the_extra_it_is_a_fragment_of_html():
    drawn = notebook.fragment("signature", Signature((ONE,), (ONE,)))
    assert drawn is not None
    assert drawn.startswith('<div class="lading-panel">')


def test_a_defect_of_ours_is_not_taken_for_a_missing_extra(monkeypatch):
    monkeypatch.setattr(notebook.importlib, "import_module", lambda _: __import__("no_such_part_of_ours"))
    with pytest.raises(ModuleNotFoundError, match="no_such_part_of_ours"):
        notebook.fragment("signature", Signature((ONE,), (ONE,)))
