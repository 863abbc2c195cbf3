"""Golden samples replayed: as one batch and row by row."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from lading.errors import BatchMismatch, GoldenMismatch
from lading.parity import Tolerance
from lading.runtime.open import load_runtime
from lading.signature import Signature
from lading.verify import replay, replay_alone, verify
from support.bundles import linear_bundle
from support.onnx_graphs import bundle_of, graph, identity, node, tensor
from support.verified_bundles import BATCH_OF_4, ROWS, by_name, forged, outcomes


@pytest.mark.slow
def test_a_changed_golden_output_is_named_with_output_and_row(tmp_path):
    def change(outputs):
        outputs["probabilities"][3, 1] += 0.01

    bundle = forged(tmp_path / "b", change)
    expected = bundle.samples().outputs["probabilities"][3]
    with pytest.raises(GoldenMismatch) as caught:
        replay(load_runtime(bundle), bundle)
    message = caught.value.message
    assert message.startswith("golden samples of `iris`, output `probabilities`, row 3: expected [")
    assert f"{float(expected[1]):.9g}" in message
    assert "within rtol 0.0001, atol 1e-05" in message
    assert "the expected outputs are from onnxruntime" in str(caught.value.hint)

    evidence = verify(bundle)
    assert outcomes(evidence)["golden"] == "failed"
    assert "output `probabilities`, row 3" in by_name(evidence)["golden"].found
    assert [outcomes(evidence)[name] for name in ("batch", "latency", "memory")] == ["skipped"] * 3


def test_a_changed_golden_label_is_named_with_its_row(tmp_path):
    def change(outputs):
        outputs["label"][5] = 7

    bundle = forged(tmp_path / "b", change)
    with pytest.raises(GoldenMismatch, match="output `label`, row 5: expected 7 within"):
        replay(load_runtime(bundle), bundle)


@pytest.mark.slow
def test_a_label_flip_that_the_bundle_allows_is_counted(tmp_path):
    def change(outputs):
        outputs["label"][5] = 7

    bundle = forged(tmp_path / "b", change, tolerance=Tolerance(max_label_flips=1))
    evidence = verify(bundle)
    assert evidence.holds
    assert evidence.numbers["golden_label_flips"] == 1
    assert "row 5: expected 7" in by_name(evidence)["golden"].found


def test_of_a_long_row_only_the_values_that_differ_most_are_shown(tmp_path):
    rows = np.arange(400, dtype="float32").reshape(2, 200)
    answers = {"Y": rows.copy()}
    answers["Y"][1, 150] = -5
    signature = Signature((tensor("X", "float32", "batch", 200),), (tensor("Y", "float32", "batch", 200),))
    model = identity("float32", "batch", 200)
    bundle = bundle_of(tmp_path / "b", model, signature, {"X": rows}, outputs=answers)
    with pytest.raises(GoldenMismatch) as caught:
        replay(load_runtime(bundle), bundle)
    assert "expected -5 at [150]" in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.slow
def test_nan_and_infinities_agree_with_themselves_only(tmp_path):
    rows = np.array([[np.nan, 1], [np.inf, -np.inf]], "float32")
    x = msgspec.structs.replace(tensor("X", "float32", "batch", 2), allows_nan=True)
    signature = Signature((x,), (tensor("Y", "float32", "batch", 2),))
    model = identity("float32", "batch", 2)
    assert verify(bundle_of(tmp_path / "good", model, signature, {"X": rows})).holds
    other = {"Y": np.array([[0, 1], [np.inf, -np.inf]], "float32")}
    bad = bundle_of(tmp_path / "bad", model, signature, {"X": rows}, outputs=other)
    with pytest.raises(GoldenMismatch, match=r"row 0: expected \[0, 1\] within .* found \[nan, 1\]"):
        replay(load_runtime(bad), bad)


@pytest.mark.slow
def test_strings_are_replayed_and_shown(tmp_path):
    words = np.array(["red", "grün", ""], dtype=object)
    signature = Signature((tensor("X", "string"),), (tensor("Y", "string"),))
    assert verify(bundle_of(tmp_path / "good", identity("string"), signature, {"X": words})).holds
    other = {"Y": np.array(["red", "green", ""], dtype=object)}
    bad = bundle_of(tmp_path / "bad", identity("string"), signature, {"X": words}, outputs=other)
    with pytest.raises(GoldenMismatch, match=r"row 1: expected `green` within .* found `grün`"):
        replay(load_runtime(bad), bad)


def mixing() -> tuple[bytes, Signature]:
    """Build a model whose answer for a row depends on the others: it subtracts the mean of the batch."""
    shape = (tensor("X", "float32", *BATCH_OF_4),), (tensor("Y", "float32", *BATCH_OF_4),)
    nodes = [node("ReduceMean", "X", "mean", axes=[0], keepdims=1), node("Sub", "X mean", "Y")]
    return graph(nodes, *shape), Signature(*shape)


def test_a_model_that_mixes_rows_is_refused(tmp_path):
    model, signature = mixing()
    bundle = bundle_of(tmp_path / "b", model, signature, {"X": ROWS})
    with pytest.raises(BatchMismatch) as caught:
        replay_alone(load_runtime(bundle), bundle)
    assert "alone as in a batch of 6" in caught.value.message
    assert "an operator mixes rows" in str(caught.value.hint)


@pytest.mark.slow
def test_of_a_model_that_mixes_rows_the_check_of_the_batch_is_named(tmp_path):
    # Its golden answers are those of all rows as one, and it is served in chunks.
    model, signature = mixing()
    bundle = bundle_of(tmp_path / "b", model, signature, {"X": ROWS})
    with pytest.raises(BatchMismatch, match=r"golden samples, output `Y`, row \d: .* in a batch of 6"):
        replay(load_runtime(bundle), bundle)
    evidence = verify(bundle)
    assert not evidence.holds
    checks = {name: outcome for name, outcome in outcomes(evidence).items() if outcome != "passed"}
    assert checks["batch"] == "failed"
    assert {"golden", "latency", "memory"}.isdisjoint(checks)
    assert "an operator mixes rows" in by_name(evidence)["batch"].hint


@pytest.mark.slow
def test_of_a_model_that_mixes_rows_and_answers_otherwise_the_golden_samples_are_named(tmp_path):
    model, signature = mixing()
    bundle = bundle_of(tmp_path / "b", model, signature, {"X": ROWS}, outputs={"Y": ROWS + 1})
    with pytest.raises(GoldenMismatch):
        replay(load_runtime(bundle), bundle)
    assert outcomes(verify(bundle))["golden"] == "failed"


@pytest.mark.slow
def test_two_golden_rows_are_enough_to_refuse_a_model_that_mixes_rows(tmp_path):
    model, signature = mixing()
    bundle = bundle_of(tmp_path / "b", model, signature, {"X": ROWS[:2]})
    assert not verify(bundle).holds
    with pytest.raises(BatchMismatch, match="in a batch of 2"):
        replay_alone(load_runtime(bundle), bundle)


@pytest.mark.slow
def test_a_model_that_takes_one_row_only_is_refused_if_a_batch_is_promised(tmp_path):
    # The shape inside the graph is fixed to one row; the declared input says otherwise.
    shape = (tensor("X", "float32", *BATCH_OF_4),), (tensor("Y", "float32", *BATCH_OF_4),)
    constants = {"S": np.array([1, 4], "int64")}
    model = graph([node("Reshape", "X S", "Y")], *shape, constants=constants)
    bundle = bundle_of(tmp_path / "b", model, Signature(*shape), {"X": ROWS[:1]})
    evidence = verify(bundle)
    assert (outcomes(evidence)["golden"], outcomes(evidence)["batch"]) == ("passed", "failed")
    assert "Reshape" in by_name(evidence)["batch"].found


@pytest.mark.slow
def test_one_golden_row_is_repeated_to_make_a_batch(tmp_path):
    evidence = verify(linear_bundle(tmp_path / "b", rows=1))
    assert evidence.holds
    assert by_name(evidence)["batch"].found.startswith("2 rows alone and together")
