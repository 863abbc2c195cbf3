"""README and guides, followed as they stand: each block of bash and Python, in order, in an empty folder."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pytest

from support.guides import GUIDES, blocks, follow, script
from support.ports import free_port
from support.postgres import postgres  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[2]
FRAMEWORKS = ["xgboost", "lightgbm"]
MARKED = [pytest.param(name, marks=pytest.mark.wide) for name in FRAMEWORKS]  # Each takes a minute.
WITH_AN_ENVIRONMENT = ["catboost", "keras"]  # tests/engines follow their guides
NARROW = [
    "README.md",
    "README.ko.md",
    "docs/guides/first-model.md",
    *(f"docs/guides/first-model-{framework}.md" for framework in [*FRAMEWORKS, *WITH_AN_ENVIRONMENT]),
    "docs/guides/first-model-python.md",
    "docs/guides/first-model-pytorch.md",
    "docs/guides/first-model-transformers.md",
    "docs/guides/signing.md",
    "docs/guides/team.md",
    "docs/guides/vulnerabilities.md",
]
WIDEST = 92
"""Columns of a code block that GitHub shows without a scroll bar."""


@pytest.mark.slow
def test_the_readme_runs_as_it_stands(tmp_path):
    page = ROOT / "README.md"
    (bash,) = [text for language, text in blocks(page) if language == "bash"]
    (python,) = [text for language, text in blocks(page) if language == "python"]
    text = bash.replace("kill %1", REFUSED + "kill %1\nwait %1")
    notebook = f"python - <<'PYTHON'\nfrom train import X, model\n{python}print(bundle)\nPYTHON"
    output = follow(f"set -eu\n{text}\n{notebook}", tmp_path, free_port())
    assert '{"prediction":["setosa","virginica"]}' in output
    quoted = "input `X`: expected `float32 [batch, 4]`, found a string at `$.data[0][2]`"
    assert quoted in output
    assert quoted in page.read_text()
    assert "Bundle(iris, classification, 'iris.bundle'" in output


REFUSED = (
    "curl -s http://127.0.0.1:8000/predict -H 'content-type: application/json' "
    """-d '{"data": [[5.1, 3.5, "1.4", 0.2]]}'\n"""
)


@pytest.mark.slow
def test_the_guide_to_a_first_model_runs_as_it_stands(tmp_path):
    output = follow(script(GUIDES / "first-model.md"), tmp_path, free_port())
    assert output.count("`iris` holds here") == 2
    assert "no input of the model, left out: " in output
    assert '"setosa"' in output


@pytest.mark.slow
@pytest.mark.parametrize("framework", MARKED)
def test_the_guide_of_a_framework_runs_as_it_stands(tmp_path, framework):
    output = follow(script(GUIDES / f"first-model-{framework}.md"), tmp_path, free_port())
    assert "holds here" in output
    *_, difference, trips = output.strip().splitlines()
    assert float(difference) < 1e-4
    assert trips.startswith("Prediction(2 rows of trips: ")


@pytest.mark.slow
@pytest.mark.wide
def test_the_guide_of_models_in_python_runs_as_it_stands(tmp_path):
    output = follow(script(GUIDES / "first-model-python.md"), tmp_path, free_port())
    assert "code: served only with `--allow code`" in output
    assert "holds here" in output
    assert output.strip().splitlines()[-6:-3] == ['"pay"', '"ask"', '"ask"']
    assert output.strip().splitlines()[-3:] == ["True", "True", "['praise', 'read it']"]


@pytest.mark.slow
def test_the_guide_to_vulnerabilities_runs_as_it_stands(tmp_path):
    output = follow(script(GUIDES / "vulnerabilities.md"), tmp_path, free_port())
    assert "critical 9.8" in output
    assert "gate `max_vulnerability`: expected nothing above `high`, found MADE-UP-1 (critical)" in output
    assert "findings in what 1 server run" in output or "finding in what 1 server run" in output


@pytest.mark.slow
def test_the_guide_for_a_team_runs_as_it_stands(tmp_path, postgres):  # noqa: F811 - the fixture
    text = script(GUIDES / "team.md", both="LADING_PORT=$SECOND lading serve --host 0.0.0.0 &")
    text = text.replace("postgresql://lading@db.example.com/lading", postgres.database())
    text = text.replace("/mnt/models", str(tmp_path / "models")).replace("0.0.0.0", "127.0.0.1")
    text += "\nlading inventory --json > inventory.json; lading history iris --json > history.json"
    output = follow(text, tmp_path, free_port(), SECOND=str(free_port()))
    assert "the history of `iris` is complete" in output
    assert len(json.loads((tmp_path / "inventory.json").read_text())["replicas"]) == 2
    actors = [event["actor"] for event in json.loads((tmp_path / "history.json").read_text())["events"]]
    assert "grace" in actors


@pytest.mark.slow
def test_the_guide_to_signing_runs_as_it_stands(tmp_path):
    output = follow(script(GUIDES / "signing.md"), tmp_path, free_port())
    assert "is not released: expected" in output
    assert "`fraud:1` is live" in output
    assert 'lading_trust_policy_info{digest="sha256:' in output
    assert '"trust_policy": "sha256:' in output


@pytest.mark.parametrize("name", NARROW)
def test_no_code_block_scrolls(name):
    wide = [line for _, text in blocks(ROOT / name) for line in text.splitlines() if columns(line) > WIDEST]
    assert wide == []


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line)


@pytest.mark.parametrize("page", sorted(GUIDES.glob("*.md")), ids=lambda page: page.name)
def test_a_guide_names_the_registry_before_it_uses_one(page):
    typed = r"^(?:\$ )?(export LADING_REGISTRY|lading \w+[^\n]*)"
    commands = re.findall(typed, page.read_text(), re.MULTILINE)
    needs_none = r"lading (pack|inspect|--|monitor (rules|dashboard))"
    uses = [line for line in commands if not re.match(needs_none, line)]
    assert not uses or uses[0].startswith("export LADING_REGISTRY"), uses[0]
