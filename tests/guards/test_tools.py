"""What scripts and benchmarks import of lading exists: most run by hand, and types are not checked.

And what the tests themselves run with.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[2]
TOOLS = sorted(path for folder in ("benchmarks", "scripts") for path in (ROOT / folder).rglob("*.py"))


def imported(path: Path) -> list[tuple[str, str]]:
    """List the modules of lading and the names that a file imports, wherever it does."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return [
        (node.module, alias.name)
        for node in nodes
        if node.module is not None and node.module.split(".")[0] == "lading"
        for alias in node.names
    ]


@pytest.mark.slow
def test_the_tools_were_found():
    assert sum(len(imported(path)) for path in TOOLS) > 20


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_tool_imports_exists(path):
    missing = []
    for module, name in imported(path):
        imported_module = importlib.import_module(module)
        if not hasattr(imported_module, name):
            try:
                importlib.import_module(f"{module}.{name}")
            except ModuleNotFoundError:
                missing.append(f"{module}.{name}")
    assert missing == []


@pytest.mark.parametrize("reference", ["fastapi_app", "echo_http", "echo_grpc"])
def test_what_the_references_of_make_bench_import_is_installed(reference):
    tree = ast.parse((ROOT / "benchmarks" / "references" / f"{reference}.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    # What starts the first is named by a command only.
    started = {"gunicorn", "uvicorn_worker"} if reference == "fastapi_app" else set()
    assert [name for name in names | started if importlib.util.find_spec(name) is None] == []


def test_no_generated_example_fails_by_the_clock_and_ci_tries_the_same_ones_each_time():
    assert settings.default.deadline is None
    assert settings.default.derandomize is ("CI" in os.environ)
