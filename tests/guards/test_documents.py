"""The papers agree with the code: generated pages, public names, settings, links, and README's commands."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lading
from lading.settings import ServeSettings, StoreSettings, variable
from support.ports import free_port

ROOT = Path(__file__).parents[2]
PAPERS = [
    "README.md",
    "README.ko.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "FORMAT.md",
]
PAGES = [ROOT / name for name in PAPERS] + sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.slow
def test_the_generated_pages_of_the_reference_are_what_the_code_says():
    script = ROOT / "scripts" / "reference.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", lading.__all__)
def test_a_public_name_and_its_public_members_have_a_docstring(name):
    thing = getattr(lading, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        members = {key: value for key, value in vars(thing).items() if not key.startswith("_")}
        calls = {key: getattr(value, "__func__", value) for key, value in members.items()}
        bare = [
            key
            for key, value in calls.items()
            if (inspect.isfunction(value) or isinstance(value, property)) and not inspect.getdoc(value)
        ]
        assert bare == []


def test_every_setting_is_documented():
    page = (ROOT / "docs" / "reference" / "settings.md").read_text()
    for field in (*dataclasses.fields(ServeSettings), *dataclasses.fields(StoreSettings)):
        assert f"`{variable(field.name)}`" in page
        assert field.metadata["help"] in page


def test_no_paper_is_empty():
    assert [path.name for path in PAGES if not path.read_text().strip()] == []


def test_every_link_between_pages_leads_somewhere():
    link = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
    targets = [(page, target) for page in PAGES for target in link.findall(page.read_text())]
    assert [(page.name, target) for page, target in targets if not (page.parent / target).exists()] == []


def test_every_make_target_that_a_paper_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", page.read_text(), re.MULTILINE))
        assert {first or second for first, second in named} <= targets, page.name


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name not in ("renamed.md", "onnx-node-tests.md")],
    ids=lambda page: page.name,
)
def test_every_file_and_test_that_a_page_names_exists(page):
    text = page.read_text()
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in re.findall(r"`(test_\w+)`", text) if f"def {name}(" not in tests] == []
    files = re.findall(r"`((?:tests|docs|scripts|src|benchmarks)/[\w/.-]+)`", text)
    assert [name for name in files if not (ROOT / name).exists()] == []
    modules = re.findall(r"`(\w+/[\w/]+\.py)`", text)
    homes = (ROOT, ROOT / "src" / "lading")
    assert [name for name in modules if not any((home / name).exists() for home in homes)] == []


@pytest.mark.parametrize(("folder", "container"), [("lading", "lading"), ("lading/server", "lading.server")])
def test_the_code_map_has_the_layers_of_the_import_contracts(folder, container):
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract.get("containers") == [container]]
    there = (ROOT / "src" / folder).glob
    present = [
        {name for name in re.findall(r"\w+", layer) if [*there(f"{name}"), *there(f"{name}.py")]}
        for layer in layers
    ]
    rows = re.findall(r"^\| ([`\w/ ·]+) \|", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    mapped = [set(re.findall(r"`(\w+)/?`", row)) for row in rows]
    expected = [names for names in present if names and names != {"__main__"}]
    assert [names for names in mapped if names in expected] == expected


@pytest.mark.slow
def test_the_new_names_of_the_map_of_names_exist():
    text = (ROOT / "docs" / "reference" / "renamed.md").read_text()
    rows = [row.split("|")[-2] for row in re.findall(r"^\|.*`.*\|$", text, re.MULTILINE)]
    source = ROOT / "src" / "lading"
    names = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    code = "\n".join(path.read_text() for path in source.rglob("*.py"))
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", code)] == []
    files = {path.name for path in source.rglob("*.py")}
    assert {name for row in rows for name in re.findall(r"`[\w/]*?(\w+\.py)`", row)} <= files


def blocks(paper: str) -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```", (ROOT / paper).read_text(), re.MULTILINE | re.DOTALL)


def test_both_readmes_show_the_same_commands():
    def bare(paper: str) -> list[str]:
        lines = "\n".join(blocks(paper)).splitlines()
        return [line.partition("  #")[0].rstrip() for line in lines]

    assert bare("README.md") == bare("README.ko.md")


@pytest.mark.slow
@pytest.mark.timeout(660)
def test_the_demo_tells_its_story_to_the_end():
    demo = [sys.executable, str(ROOT / "examples" / "demo.py"), "--port", str(free_port())]
    done = subprocess.run(demo, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    for sentence in (
        "ready after",
        "iris:2 went live by itself",
        "iris:3 was rolled back by itself",
        " 0 failed",
        "found a string at `$.data[0][2]`",
        "`model.onnx`: expected",
        "drained",
    ):
        assert sentence in done.stdout
