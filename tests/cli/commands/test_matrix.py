"""The matrix of bundles and runtimes."""

from __future__ import annotations

import json

import pytest

from support.recorded_evidence import ELSEWHERE, record_evidence


@pytest.mark.slow
def test_without_evidence_the_matrix_says_how_to_record_some(lading, filled, bundle):
    assert lading("verify", bundle.path)[0] == 0
    message = "no evidence in this registry yet; `lading verify iris:2` records it"
    assert lading("matrix") == (0, "", f"{message} (that of a directory is only shown)\n")


def test_each_runtime_is_a_column_and_a_version_without_evidence_on_it_has_a_dash(lading, opened):
    record_evidence(opened, "iris:1")
    header, *rows = lading("matrix")[1].splitlines()
    assert header.split(maxsplit=3) == [
        "ref", "executes", "environment", "ORT 1.17.0, Python 3.10.1, debian 11 aarch64",
    ]  # fmt: skip
    assert [row.split() for row in rows] == [["iris:1", "no", "–", "holds"], ["iris:2", "no", "–", "–"]]
    (cell,) = json.loads(lading("matrix", "--json")[1])["evidence"]
    assert (cell["ref"], cell["runtime"], cell["holds"]) == ("iris:1", ELSEWHERE.id, True)
