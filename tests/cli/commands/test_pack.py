"""Packing from the command line: what it reports, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

MODEL = Path(__file__).parents[2] / "data" / "iris_svc.onnx"
FACTS = ("--name", "iris", "--owner", "ml@example.com")


def test_golden_rows_that_were_drawn_at_random_are_reported_as_such(lading, tmp_path):
    code, stdout, stderr = lading("pack", MODEL, *FACTS)
    assert (code, stdout) == (0, "iris.bundle\n")
    assert (
        "golden samples: 64 rows drawn at random, because there are no `--samples`; "
        "pass real rows for a meaningful proof\n"
    ) in stderr
    (tmp_path / "rows.json").write_text("[[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]")
    code, _, stderr = lading("pack", MODEL, *FACTS, "--samples", "rows.json", "-o", "second")
    assert code == 0
    assert "golden samples: 2 rows, answered by onnxruntime" in stderr


def test_the_purpose_is_derived_from_the_model_by_default(lading):
    assert lading("pack", MODEL, *FACTS)[0] == 0
    manifest = json.loads(lading("inspect", "iris.bundle", "--json")[1])["manifest"]
    assert manifest["purpose"] == "classification"


def test_an_existing_bundle_is_not_overwritten(lading):
    assert lading("pack", MODEL, *FACTS)[0] == 0
    code, _, stderr = lading("pack", MODEL, *FACTS)
    assert code == 1
    assert "hint: `--overwrite` (`overwrite=True` in Python) replaces a bundle" in stderr
    assert lading("pack", MODEL, *FACTS, "--overwrite")[0] == 0


def test_a_missing_module_and_samples_of_an_unknown_kind_are_usage_errors(lading, tmp_path):
    code, _, stderr = lading("pack", "nowhere_to_be_found:model", *FACTS)
    assert code == 2
    assert "hint: run it in the folder that holds `nowhere_to_be_found.py`" in stderr
    (tmp_path / "rows.xlsx").write_text("")
    code, _, stderr = lading("pack", MODEL, *FACTS, "--samples", "rows.xlsx")
    assert code == 2
    assert "or `.json`, found `.xlsx`" in stderr
