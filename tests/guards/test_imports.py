"""What may import what, and what an import costs."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "lading"
SHARED = ("blobs", "clock", "errors", "logs", "notebook", "units")
WORDS = (
    "credentials",
    "evidence",
    "log_frames",
    "parity",
    "profile",
    "ref",
    "replica",
    "settings",
    "signature",
    "traffic",
)
CORE = (*SHARED, *WORDS, "alarms", "bundle", "gates", "input_checks", "jobs", "release", "runs")

# What a server never does: make models, move releases, judge whole data sets, show pages about everything.
OTHER_WORK = ("batch", "convert", "deploy", "hub", "monitor", "pack", "rollout", "train")


def fresh(code: str) -> str:
    """Run `code` in a new interpreter; return what it printed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def contract(name: str) -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return next(contract for contract in contracts if contract["id"] == name)


def present(names: tuple[str, ...]) -> set[str]:
    return {
        f"lading.{name}"
        for name in names
        if (PACKAGE / f"{name}.py").exists() or (PACKAGE / name / "__init__.py").exists()
    }


@pytest.mark.slow
def test_the_import_contracts_hold():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_module_of_the_core_stands_behind_its_fence():
    assert set(contract("core")["source_modules"]) == present(CORE)


def test_the_server_is_fenced_from_the_parts_that_do_other_work():
    assert contract("server")["source_modules"] == ["lading.server"]
    assert present(OTHER_WORK) <= set(contract("server")["forbidden_modules"])


@pytest.mark.parametrize("name", ["layers", "server-layers"])
def test_no_module_is_left_out_of_the_layers(name):
    assert contract(name)["exhaustive"] is True


@pytest.mark.slow
def test_the_contract_of_libraries_fails_without_one_of_its_exceptions(tmp_path):
    text = (ROOT / "pyproject.toml").read_text()
    config = tmp_path / "pyproject.toml"
    config.write_text(text.replace('"lading.deploy.cluster -> kubernetes",', ""))
    linter = Path(sys.executable).with_name("lint-imports")
    command = [linter, "--no-cache", "--config", config, "--contract", "libraries"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "lading.deploy.cluster -> kubernetes" in done.stdout


def test_importing_lading_loads_the_standard_library_and_numpy_only():
    # What site hooks of this machine have loaded before is not lading's doing.
    code = "import sys; before = set(sys.modules); import lading; print(*set(sys.modules) - before)"
    tops = {name.partition(".")[0] for name in fresh(code).split()}
    assert tops - sys.stdlib_module_names <= {"lading", "numpy"}


@pytest.mark.alone
def test_importing_lading_costs_under_60_ms_more_than_numpy():
    code = "import time; start = time.perf_counter(); import numpy{}; print(time.perf_counter() - start)"
    plain, ours = [], []
    for _ in range(9):  # interleaved, so that a slow moment of the machine falls on both
        plain.append(float(fresh(code.format(""))))
        ours.append(float(fresh(code.format(", lading"))))
    assert statistics.median(ours) - statistics.median(plain) < 0.060


@pytest.mark.parametrize("command", ["--version", "--help"])
def test_the_command_line_answers_without_loading_a_runtime_or_a_framework(command):
    code = (
        f"import sys; from lading.cli import main; assert main([{command!r}]) == 0; "
        "print(); print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = set(fresh(code).splitlines()[-1].split())
    assert not loaded & {
        "onnx",
        "onnxruntime",
        "sklearn",
        "skl2onnx",
        "pandas",
        "fastapi",
        "uvicorn",
        "sqlalchemy",
    }
