"""Every check of verify: what passes, what it refuses, and what then is skipped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

import lading
from lading.bundle import Bundle, Training, write_bundle
from lading.errors import BatchMismatch, GoldenMismatch
from lading.evidence import Check, Evidence
from lading.gates import Gates
from lading.parity import Tolerance
from lading.runtime.open import load_runtime
from lading.signature import Signature
from lading.verify import CHECKS, replay, replay_alone, verify
from support.bundles import REQUIREMENTS, linear_bundle, linear_draft, linear_model, linear_samples
from support.onnx_graphs import bundle_of, graph, identity, node, tensor

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "verify.md"
ROWS = np.random.default_rng(3).uniform(-1, 1, (6, 4)).astype("float32")
BATCH_OF_4 = ("batch", 4)


def by_name(evidence: Evidence) -> dict[str, Check]:
    return {check.name: check for check in evidence.checks}


def outcomes(evidence: Evidence) -> dict[str, str]:
    return {check.name: check.outcome for check in evidence.checks}


def forged(folder: Path, change, **draft) -> Bundle:
    """Write a bundle whose golden outputs were changed, with every digest right."""
    samples = linear_samples(linear_model())
    change(samples.outputs)
    return write_bundle(
        folder, linear_draft(**draft), model=linear_model(), samples=samples, requirements=REQUIREMENTS
    )


# The whole.


def test_a_good_bundle_passes_every_check_in_order(tmp_path):
    evidence = verify(linear_bundle(tmp_path / "b"))
    assert tuple(check.name for check in evidence.checks) == CHECKS
    assert evidence.holds
    # The packages that the test bundle names are older than those installed here.
    assert set(outcomes(evidence).values()) == {"passed", "noted"}
    assert outcomes(evidence)["environment"] == "noted"


def test_evidence_names_the_bundle_the_place_and_the_numbers(tmp_path):
    bundle = linear_bundle(tmp_path / "b")
    evidence = verify(bundle.path)
    assert (evidence.bundle, evidence.name) == (bundle.digest, "iris")
    assert len(evidence.fingerprint.id) == 12
    assert evidence.measured_at.endswith("+00:00")
    assert set(evidence.numbers) == {
        "load_ms",
        "golden_rows",
        "golden_max_abs_error",
        "golden_label_flips",
        "latency_p50_ms",
        "latency_p99_ms",
        "latency_p50_ms_32",
        "latency_p99_ms_32",
        "memory_mb",
        "size_mb",
    }
    assert all(isinstance(number, int | float) and number >= 0 for number in evidence.numbers.values())


def test_evidence_survives_json(tmp_path):
    evidence = verify(linear_bundle(tmp_path / "b"), gates=Gates(max_size_mb=1))
    assert msgspec.json.decode(msgspec.json.encode(evidence), type=Evidence) == evidence


def test_an_opened_bundle_is_looked_at_again(tmp_path):
    bundle = linear_bundle(tmp_path / "b")
    with bundle.model_path.open("ab") as file:
        file.write(b"\0")
    assert outcomes(verify(bundle))["files"] == "failed"


def test_verify_is_a_function_whatever_was_imported_before():
    code = "import lading\nfrom lading.verify import replay\nprint(lading.verify.__class__.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "function\n"
    assert lading.verify is verify


def test_the_page_describes_every_check_and_number(tmp_path):
    text = PAGE.read_text()
    evidence = verify(linear_bundle(tmp_path / "b"))
    assert [name for name in (*CHECKS, *evidence.numbers) if f"`{name}`" not in text] == []


# Files and format.


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "samples.npz", "requirements.txt"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.7, 0.999])
def test_one_flipped_bit_anywhere_is_found_and_the_file_named(tmp_path, name, part):
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


def test_a_missing_and_an_extra_file_are_failures_of_the_files(tmp_path):
    linear_bundle(tmp_path / "a").path.joinpath("requirements.txt").unlink()
    linear_bundle(tmp_path / "b").path.joinpath("notes.txt").write_text("mine")
    for name in ("a", "b"):
        assert outcomes(verify(tmp_path / name))["files"] == "failed"


def test_another_format_is_a_failure_of_the_format(tmp_path):
    path = linear_bundle(tmp_path / "b").path / "bundle.json"
    tree = json.loads(path.read_bytes())
    path.write_text(json.dumps({**tree, "format": 2}))
    evidence = verify(tmp_path / "b")
    assert outcomes(evidence)["format"] == "failed"
    assert by_name(evidence)["format"].expected == "`1`"


def test_what_is_no_bundle_at_all_is_evidence_too(tmp_path):
    (tmp_path / "file").write_text("text")
    for path in (tmp_path / "nothing", tmp_path / "file", str(tmp_path)):
        evidence = verify(path, gates=Gates(max_size_mb=1))
        assert not evidence.holds
        assert evidence.numbers == {}


# Model.


def test_a_model_that_the_checker_refuses_fails_there(tmp_path):
    # `axis` of Softmax is an integer; ONNX Runtime would say so only when it loads the model.
    wrong = node("Softmax", "X", "Y", axis="one")
    model = graph([wrong], [tensor("X", "float32", *BATCH_OF_4)], [tensor("Y", "float32", *BATCH_OF_4)])
    evidence = verify(declared(tmp_path, model))
    assert outcomes(evidence)["onnx"] == "failed"
    assert "axis" in by_name(evidence)["onnx"].found


def declared(folder: Path, model: bytes, **changes) -> Bundle:
    """Write a bundle of a model that cannot be run here, or not as declared."""
    signature = Signature(
        (tensor("X", "float32", *BATCH_OF_4),), (tensor("Y", changes.pop("dtype", "float32"), *BATCH_OF_4),)
    )
    answers = {"Y": ROWS.astype(signature.outputs[0].dtype)}
    return bundle_of(folder / "b", model, signature, {"X": ROWS}, outputs=answers, **changes)


def test_a_newer_opset_fails_and_the_rest_is_skipped(tmp_path):
    evidence = verify(declared(tmp_path, identity("float32", *BATCH_OF_4, opset=99)))
    found = outcomes(evidence)
    # The checker of the onnx package here is older than that model, and cannot judge it.
    assert (found["onnx"], found["opset"]) == ("noted", "failed")
    for name in ("session", "signature", "golden", "batch", "latency", "memory"):
        assert found[name] == "skipped"
    assert found["size"] == "passed"
    assert by_name(evidence)["opset"].found == "opset of `ai.onnx` in `model.onnx`: 99"


def test_an_unknown_operator_fails_at_the_session(tmp_path):
    shape = [tensor("X", "float32", *BATCH_OF_4)], [tensor("Y", "float32", *BATCH_OF_4)]
    own = graph([node("Foo", "X", "Y", domain="my.own")], *shape, domains={"my.own": 1})
    evidence = verify(declared(tmp_path, own))
    assert outcomes(evidence)["session"] == "failed"
    assert "my.own:Foo" in by_name(evidence)["session"].found
    assert outcomes(evidence)["golden"] == "skipped"


def test_a_manifest_that_is_not_the_models_fails_at_the_signature(tmp_path):
    evidence = verify(declared(tmp_path, identity("float32", *BATCH_OF_4), dtype="float64"))
    assert outcomes(evidence)["signature"] == "failed"
    assert by_name(evidence)["signature"].expected == "`float64 [batch, 4]`"
    assert by_name(evidence)["signature"].found == "output `Y`: `float32 [batch, 4]` in the model"
    assert outcomes(evidence)["golden"] == "skipped"


def test_without_the_onnx_package_its_check_is_skipped_and_the_rest_holds(tmp_path):
    bundle = linear_bundle(tmp_path / "b")
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "import importlib.util; importlib.util.find_spec = lambda name: None\n"
        "from lading.verify import verify\n"
        "evidence = verify(sys.argv[1])\n"
        "print(evidence.holds, {check.name: check.outcome for check in evidence.checks}['onnx'])"
    )
    command = [sys.executable, "-c", code, str(bundle.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "True skipped\n"


# Golden samples.


def test_a_changed_golden_output_is_found_with_output_row_expected_and_found(tmp_path):
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


def test_a_changed_label_is_found(tmp_path):
    def change(outputs):
        outputs["label"][5] = 7

    bundle = forged(tmp_path / "b", change)
    with pytest.raises(GoldenMismatch, match="output `label`, row 5: expected 7 within"):
        replay(load_runtime(bundle), bundle)


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


def test_nan_and_infinities_agree_with_themselves_only(tmp_path):
    rows = np.array([[np.nan, 1], [np.inf, -np.inf]], "float32")
    given = msgspec.structs.replace(tensor("X", "float32", "batch", 2), allows_nan=True)
    signature = Signature((given,), (tensor("Y", "float32", "batch", 2),))
    model = identity("float32", "batch", 2)
    assert verify(bundle_of(tmp_path / "good", model, signature, {"X": rows})).holds
    other = {"Y": np.array([[0, 1], [np.inf, -np.inf]], "float32")}
    bad = bundle_of(tmp_path / "bad", model, signature, {"X": rows}, outputs=other)
    with pytest.raises(GoldenMismatch, match=r"row 0: expected \[0, 1\] within .* found \[nan, 1\]"):
        replay(load_runtime(bad), bad)


def test_strings_are_replayed_and_shown(tmp_path):
    words = np.array(["red", "grün", ""], dtype=object)
    signature = Signature((tensor("X", "string"),), (tensor("Y", "string"),))
    assert verify(bundle_of(tmp_path / "good", identity("string"), signature, {"X": words})).holds
    other = {"Y": np.array(["red", "green", ""], dtype=object)}
    bad = bundle_of(tmp_path / "bad", identity("string"), signature, {"X": words}, outputs=other)
    with pytest.raises(GoldenMismatch, match=r"row 1: expected `green` within .* found `grün`"):
        replay(load_runtime(bad), bad)


# Batches.


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
    evidence = verify(bundle)
    assert (outcomes(evidence)["golden"], outcomes(evidence)["batch"]) == ("passed", "failed")
    assert "an operator mixes rows" in by_name(evidence)["batch"].hint


def test_a_model_that_mixes_rows_is_caught_with_two_golden_rows_too(tmp_path):
    model, signature = mixing()
    bundle = bundle_of(tmp_path / "b", model, signature, {"X": ROWS[:2]})
    assert outcomes(verify(bundle))["batch"] == "failed"


def test_a_batch_of_one_only_is_refused_where_a_batch_is_promised(tmp_path):
    # The shape inside the graph is fixed to one row; the declared input says otherwise.
    shape = (tensor("X", "float32", *BATCH_OF_4),), (tensor("Y", "float32", *BATCH_OF_4),)
    constants = {"S": np.array([1, 4], "int64")}
    model = graph([node("Reshape", "X S", "Y")], *shape, constants=constants)
    bundle = bundle_of(tmp_path / "b", model, Signature(*shape), {"X": ROWS[:1]})
    evidence = verify(bundle)
    assert (outcomes(evidence)["golden"], outcomes(evidence)["batch"]) == ("passed", "failed")
    assert "Reshape" in by_name(evidence)["batch"].found


def test_one_golden_row_is_repeated_to_make_a_batch(tmp_path):
    evidence = verify(linear_bundle(tmp_path / "b", rows=1))
    assert evidence.holds
    assert by_name(evidence)["batch"].found.startswith("2 rows alone and together")


def test_a_model_without_a_batch_dimension_is_measured_whole(tmp_path):
    shape = (tensor("X", "float32", 2, 3),), (tensor("Y", "float32", 2, 3),)
    bundle = bundle_of(
        tmp_path / "b", identity("float32", 2, 3), Signature(*shape), {"X": np.ones((2, 3), "float32")}
    )
    evidence = verify(bundle)
    assert evidence.holds
    assert outcomes(evidence)["batch"] == "skipped"
    assert "latency_p99_ms" in evidence.numbers
    assert "latency_p99_ms_32" not in evidence.numbers


# Numbers.


@pytest.mark.slow
def test_memory_grows_with_the_model_by_about_its_weights(tmp_path):
    small = verify(linear_bundle(tmp_path / "small")).numbers
    large = verify(linear_bundle(tmp_path / "large", features=2000, classes=2500, rows=2)).numbers
    assert large["size_mb"] == pytest.approx(20, rel=0.01)
    # ONNX Runtime reads the file and then copies the weights out of it.
    assert 15 < large["memory_mb"] - small["memory_mb"] < 60
    assert small["memory_mb"] < 40


def test_the_size_is_that_of_all_files(tmp_path):
    bundle = linear_bundle(tmp_path / "b")
    total = sum(file.stat().st_size for file in bundle.path.iterdir())
    assert verify(bundle).numbers["size_mb"] == total / 1e6


def test_a_file_in_the_working_directory_is_not_taken_for_a_library(tmp_path, monkeypatch):
    bundle = linear_bundle(tmp_path / "b")
    (tmp_path / "numpy.py").write_text("raise SystemExit('not numpy')")
    monkeypatch.chdir(tmp_path)
    assert outcomes(verify(bundle))["memory"] == "passed"


# Environment.


def trained(python: str = "3.11.0", **packages: str) -> Training:
    return Training(python=python, platform="linux", framework="onnx", packages=packages)


def test_the_same_libraries_are_no_difference(tmp_path):
    here = {"numpy": np.__version__, "a-library-that-is-only-there": "1.0"}
    python = ".".join(map(str, sys.version_info[:2])) + ".0"
    bundle = linear_bundle(tmp_path / "b", training=trained(python, **here))
    assert outcomes(verify(bundle))["environment"] == "passed"


def test_another_minor_version_and_another_python_are_noted(tmp_path):
    bundle = linear_bundle(tmp_path / "b", training=trained("3.9.1", numpy="2.0.0", msgspec="0.1"))
    check = by_name(verify(bundle))["environment"]
    assert check.outcome == "noted"
    assert f"numpy {np.__version__} (training 2.0.0)" in check.found
    assert "msgspec" in check.found
    assert "(training 3.9.1)" in check.found


def test_another_major_version_of_a_shared_library_fails(tmp_path):
    bundle = linear_bundle(tmp_path / "b", training=trained(numpy="1.26.4"))
    evidence = verify(bundle)
    assert outcomes(evidence)["environment"] == "failed"
    assert by_name(evidence)["environment"].expected == "numpy 1.x"
    assert not evidence.holds


# Gates.


def test_gates_follow_the_checks_and_decide(tmp_path):
    bundle = linear_bundle(tmp_path / "b", metrics={"accuracy": 0.9})
    gates = Gates(max_latency_p99_ms=1000, max_size_mb=0.0001, min_metric={"accuracy": 0.9})
    evidence = verify(bundle, gates=gates)
    assert tuple(check.name for check in evidence.checks)[len(CHECKS) :] == (
        "max_latency_p99_ms",
        "max_size_mb",
        "min_metric.accuracy",
    )
    assert [check.name for check in evidence.failures] == ["max_size_mb"]
    assert by_name(evidence)["max_size_mb"].expected == "at most 0.0001"


def test_the_live_version_is_anything_with_metrics(tmp_path):
    bundle = linear_bundle(tmp_path / "b", metrics={"accuracy": 0.9})
    gates = Gates(no_worse_than_live={"accuracy": 0.01})
    name = "no_worse_than_live.accuracy"
    assert outcomes(verify(bundle, gates=gates))[name] == "noted"
    assert outcomes(verify(bundle, gates=gates, live=SimpleNamespace(metrics={"accuracy": 0.95})))[name] == (
        "failed"
    )


def test_a_gate_on_what_was_not_measured_fails(tmp_path):
    def change(outputs):
        outputs["label"][0] += 1

    evidence = verify(forged(tmp_path / "b", change), gates=Gates(max_latency_p99_ms=1000))
    assert by_name(evidence)["max_latency_p99_ms"].outcome == "failed"
