"""Checks in their order: those that fail, and those that are then skipped."""

from __future__ import annotations

import json

import pytest

from lading.gates import Gates
from lading.verify import CHECKS, verify
from support.bundles import linear_bundle
from support.onnx_graphs import graph, identity, node, tensor
from support.verified_bundles import BATCH_OF_4, by_name, declared, outcomes


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "samples.npz", "requirements.txt"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.7, 0.999])
def test_a_flipped_bit_fails_the_check_of_its_file(tmp_path, name, part):
    path = linear_bundle(tmp_path / "b").path / name
    data = bytearray(path.read_bytes())
    data[int(part * len(data))] ^= 1
    path.write_bytes(data)
    evidence = verify(tmp_path / "b")
    assert not evidence.holds
    failed = evidence.failures[0]
    assert failed.name in ("files", "format")
    assert name in failed.found
    assert set(outcomes(evidence).values()) == {"failed", "skipped"}
    assert tuple(check.name for check in evidence.checks) == CHECKS


def test_a_missing_or_extra_file_fails_the_files_check(tmp_path):
    linear_bundle(tmp_path / "a").path.joinpath("requirements.txt").unlink()
    linear_bundle(tmp_path / "b").path.joinpath("notes.txt").write_text("mine")
    for name in ("a", "b"):
        assert outcomes(verify(tmp_path / name))["files"] == "failed"


def test_an_unknown_format_fails_the_format_check(tmp_path):
    path = linear_bundle(tmp_path / "b").path / "bundle.json"
    tree = json.loads(path.read_bytes())
    path.write_text(json.dumps({**tree, "format": 3}))
    evidence = verify(tmp_path / "b")
    assert outcomes(evidence)["format"] == "failed"
    assert by_name(evidence)["format"].expected == "`1` or `2`"


def test_a_path_that_is_not_a_bundle_gives_evidence_that_does_not_hold(tmp_path):
    (tmp_path / "file").write_text("text")
    for path in (tmp_path / "nothing", tmp_path / "file", str(tmp_path)):
        evidence = verify(path, gates=Gates(max_size_mb=1))
        assert not evidence.holds
        assert evidence.numbers == {}


@pytest.mark.slow
def test_an_unknown_operator_fails_the_session_check(tmp_path):
    shape = [tensor("X", "float32", *BATCH_OF_4)], [tensor("Y", "float32", *BATCH_OF_4)]
    own = graph([node("Foo", "X", "Y", domain="my.own")], *shape, domains={"my.own": 1})
    evidence = verify(declared(tmp_path, own))
    assert outcomes(evidence)["session"] == "failed"
    assert "my.own:Foo" in by_name(evidence)["session"].found
    assert outcomes(evidence)["golden"] == "skipped"


@pytest.mark.slow
def test_a_manifest_that_differs_from_the_model_fails_the_signature_check(tmp_path):
    evidence = verify(declared(tmp_path, identity("float32", *BATCH_OF_4), dtype="float64"))
    assert outcomes(evidence)["signature"] == "failed"
    assert by_name(evidence)["signature"].expected == "`float64 [batch, 4]`"
    assert by_name(evidence)["signature"].found == "output `Y`: `float32 [batch, 4]` in the model"
    assert outcomes(evidence)["golden"] == "skipped"
