"""Command lines as people mistype them: each gets one sentence, a hint and its exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from lading.cli import main
from lading.registry import Registry
from support.bundles import linear_bundle

TRAIN = """
from sklearn.linear_model import LogisticRegression

X = [[0.0], [1.0], [2.0], [3.0]]
model = LogisticRegression().fit(X, [0, 0, 1, 1])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder with a training script, rows, a bundle and a registry that holds it."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "wrong_train.py").write_text(TRAIN)
    (folder / "rows.csv").write_text("x\n0\n1\n2\n3\n")
    (folder / "plain").mkdir()
    with Registry.open(str(folder / "registry")) as registry:
        registry.push(linear_bundle(folder / "iris.bundle"))
    return folder


PACK = "--name iris --samples rows.csv --owner a@example.com"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "code", "words", "hint"),
    [
        (
            "push plain",
            2,
            "`plain`: expected a bundle's directory, found no `bundle.json` in it",
            "`lading p",
        ),
        ("push .", 2, "`.`: expected a bundle's directory, found no", "did you mean `iris.bundle`?"),
        ("push wrong_train.py", 2, "found a file", "`lading pack wrong_train:OBJECT --name"),
        (
            f"pack wrong_train:modle {PACK} -o z",
            2,
            "found no `modle` in `wrong_train`",
            "did you mean `model`?",
        ),
        (f"pack wrong_train.py {PACK}", 2, "found a Python file", "`wrong_train:NAME` is the object NAME in"),
        (f"pack wrong_train:model {PACK} -o /proc/x", 2, "bundle `/proc/x`: expected a place to write,", ""),
        ("inspect rows.csv", 3, "found no such model", "`rows.csv` is a file; `lading pack` makes a bundle"),
        ("verify iris:1 --gates rows.csv", 2, "expected TOML, found another form: expected `=` after", ""),
        ("release iris:1 --ab 120", 2, "`--ab`: expected 1 to 99, found `120`\n", ""),
        ("serve iris --workers 0", 2, "`--workers`: expected at least 1, found `0`\n", ""),
        ("serve iris --port 99999", 2, "`--port`: expected 0 to 65535, found `99999`\n", ""),
        ("serve nowhere/x", 2, "invalid value for `DIR|REF`: directory `nowhere/x` does not exist", ""),
        ("rollout promote iris --to ninety", 2, "expected a percentage such as `25`, or `live`", ""),
        ("rollout promote iris --release 1 --to 25", 3, "expected at least one, found none", "`lading rele"),
        ("release iris:9", 3, "model `iris`: expected version `9`, found version `1`", ""),
        ("rollout statsu", 2, "no such command `statsu`", "did you mean `status`?"),
        ("list --registry rows.csv", 4, "found file exists at", "name a folder with `LADING_REGISTRY`"),
    ],
)
def test_a_wrong_command_gets_one_sentence(folder, monkeypatch, capsys, line, code, words, hint):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LADING_REGISTRY", str(folder / "registry"))
    assert main(line.split()) == code
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("error: ") == 1
    assert words in output.err
    assert hint in output.err
    assert len(output.err.splitlines()) <= 2
