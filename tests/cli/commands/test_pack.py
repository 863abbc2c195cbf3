"""Packing from the command line: what it says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

MODEL = Path(__file__).parents[2] / "data" / "iris_svc.onnx"
FACTS = ("--name", "iris", "--owner", "ml@example.com")


def test_rows_that_were_drawn_are_no_samples_and_that_is_said(lading, tmp_path):
    code, out, said = lading("pack", MODEL, *FACTS)
    assert (code, out) == (0, "iris.bundle\n")
    assert (
        "golden samples: 64 rows drawn at random, because there are no `--samples`; "
        "pass real rows for a meaningful proof\n"
    ) in said
    (tmp_path / "rows.json").write_text("[[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]")
    code, _, said = lading("pack", MODEL, *FACTS, "--samples", "rows.json", "-o", "second")
    assert code == 0
    assert "golden samples: 2 rows, answered by onnxruntime" in said


def test_the_purpose_is_the_models_where_none_is_given(lading):
    assert lading("pack", MODEL, *FACTS)[0] == 0
    manifest = json.loads(lading("inspect", "iris.bundle", "--json")[1])["manifest"]
    assert manifest["purpose"] == "classification"


def test_what_is_there_already_is_not_written_over(lading):
    assert lading("pack", MODEL, *FACTS)[0] == 0
    code, _, said = lading("pack", MODEL, *FACTS)
    assert code == 1
    assert "hint: remove it, or name another with `-o`" in said


def test_a_module_that_is_not_here_and_samples_of_no_known_kind_are_wrong_use(lading, tmp_path):
    code, _, said = lading("pack", "nowhere_to_be_found:model", *FACTS)
    assert code == 2
    assert "hint: run it in the folder that holds `nowhere_to_be_found.py`" in said
    (tmp_path / "rows.xlsx").write_text("")
    code, _, said = lading("pack", MODEL, *FACTS, "--samples", "rows.xlsx")
    assert code == 2
    assert "or `.json`, found `.xlsx`" in said
