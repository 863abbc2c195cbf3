"""The page of a version: worst rows, what is not known, lineage, profile, checks, and the form to try it."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest

import lading
from lading.bundle import Draft, Samples, add_profile, write_bundle
from lading.bundle.formats.v2 import Check, Lineage
from lading.errors import RegistryUnavailable
from lading.evidence import Check as Checked
from lading.evidence import Evidence, GoldenRow
from lading.profile.encoding import encode
from lading.profile.measure import measure
from lading.signature import Signature, Tensor
from support.bundles import REQUIREMENTS, linear_bundle, linear_draft, linear_model, linear_samples
from support.hub_browser import Browser
from support.hub_pages import text_of
from support.hub_rows import loaded, replica
from support.recorded_evidence import ELSEWHERE, push_forged, push_proved

pytestmark = pytest.mark.slow  # Hundreds of requests to hubs: the fast tests have those of each view.


def page(registry, path: str = "/models/iris/1", **query: str):
    return Browser(registry).get(
        path + ("?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else "")
    )


def data(registry, path: str = "/models/iris/1"):
    return Browser(registry).get(f"/api{path}").json()["data"]


def evidence(version, worst) -> Evidence:
    return Evidence(
        bundle=version.digest,
        name=version.name,
        fingerprint=ELSEWHERE,
        checks=(Checked("golden", "passed"), Checked("memory", "skipped")),
        numbers={},
        measured_at="2026-11-20T08:00:00+00:00",
        worst=worst,
    )


@pytest.mark.slow
def test_rows_that_do_not_agree_are_on_the_page_with_their_inputs(registry, tmp_path):
    push_forged(registry, tmp_path / "forged")
    version = registry.resolve("iris:1")
    registry.record(lading.verify(registry.fetch(version)))
    (proof,) = data(registry)["proofs"]
    worst = proof["worst"][0]
    assert (worst["output"], worst["row"]) == ("probabilities", 3)
    assert worst["excess"] > 1
    assert worst["inputs"].startswith("sepal_length ")
    text = text_of(page(registry))
    assert "The golden rows that agree least" in text
    assert worst["expected"] in text
    assert worst["found"] in text


def test_what_evidence_does_not_have_is_said_and_not_left_out(registry, tmp_path):
    version = registry.push(linear_bundle(tmp_path / "a"))
    registry.record(evidence(version, None))
    assert "Which golden rows agree least was not recorded." in text_of(page(registry))
    registry.record(evidence(version, ()))
    assert "exactly the expected values" in text_of(page(registry))
    wild = GoldenRow(output="label", row=9999, expected="<b>a</b>", found="\u202e", excess=None)
    registry.record(evidence(version, (wild,)))
    answer = page(registry)
    assert "another value" in text_of(answer)
    assert "<b>a" not in answer.text
    assert "Not looked at: memory" in text_of(answer)


def test_a_runtime_that_answers_without_evidence_is_named(registry, tmp_path):
    push_proved(registry, linear_bundle(tmp_path / "a"))
    registry.fleet.beat(replica(1, loaded(), fingerprint="0123456789ab"))
    registry.fleet.beat(replica(2, loaded(), fingerprint=ELSEWHERE.id))
    assert "Nothing is known of runtime 0123456789ab" in text_of(page(registry))
    assert data(registry)["unproved"] == [{"fingerprint": "0123456789ab", "replicas": ["host-1"]}]


def described(folder, parent: str, **changes):
    """Write a bundle with a profile, checks and lineage."""
    model = linear_model(seed=7)
    samples = linear_samples(model)
    draft = linear_draft(
        lineage=Lineage(data="sha256:" + "d" * 64, parent=parent, training_run="run-7", code_commit="c" * 40),
        checks=(Check(input="X", column="sepal_width", minimum=0.5),),
        **changes,
    )
    rows = {name: np.repeat(array, 20, axis=0) for name, array in samples.inputs.items()}
    profile = measure(draft.signature, rows, source="reference")
    bundle = write_bundle(folder, draft, model=model, samples=samples, requirements=REQUIREMENTS)
    return add_profile(bundle, encode(profile))


def test_lineage_profile_checks_and_files_are_those_of_the_bundle(registry, tmp_path):
    first = push_proved(registry, linear_bundle(tmp_path / "a"))
    push_proved(registry, described(tmp_path / "b", first.digest))
    registry.release("iris:1", actor="ann", reason="first")
    registry.release("iris:2", actor="bob", reason="better")
    read = data(registry, "/models/iris/2")
    assert read["origin"]["parent_version"] == 1
    assert [each["replaced"] for each in read["releases"]] == [1]
    assert {file["name"] for file in read["files"]} == {
        "model.onnx", "profile.json", "requirements.txt", "samples.npz",
    }  # fmt: skip
    assert [rule["column"] for rule in read["rules"] if rule["is_stated"]] == ["sepal_width"]
    assert [column["name"] for column in read["profile"]["columns"]][:2] == ["sepal_length", "sepal_width"]
    answer = page(registry, "/models/iris/2")
    text = text_of(answer)
    assert "run-7" in text
    assert "0.5 to " in text
    assert "bob" in text
    assert "<svg" in answer.text
    assert "not stated" in text_of(page(registry, "/models/iris/1"))
    assert "The bundle has none." in text_of(page(registry, "/models/iris/1"))


def test_a_golden_row_is_a_request_with_the_answer_that_was_recorded(registry, tmp_path):
    bundle = linear_bundle(tmp_path / "a")
    push_proved(registry, bundle)
    registry.fleet.beat(replica(1, loaded(), address="http://10.0.0.7:8000"))
    read = data(registry, "/models/iris/1?row=2")["trial"]
    row = bundle.samples().inputs["X"][2]
    assert [field["value"] for field in read["fields"]] == [str(value) for value in row]
    (body,) = [json.loads(part) for part in shlex.split(read["native"]) if part.startswith("{")]
    assert np.float32(list(body["data"][0].values())).tolist() == row.tolist()
    (infer,) = [json.loads(part) for part in shlex.split(read["open_inference"]) if part.startswith("{")]
    assert (infer["inputs"][0]["datatype"], infer["inputs"][0]["shape"]) == ("FP32", [1, 4])
    assert "http://10.0.0.7:8000/models/iris/versions/1/predict" in read["native"]
    assert set(read["answer"]) == set(bundle.samples().outputs)
    assert 'href="http://10.0.0.7:8000/docs"' in page(registry).text
    changed = data(registry, "/models/iris/1?row=2&x1=4.25")["trial"]
    assert (changed["is_changed"], changed["answer"]) == (True, {})
    assert '"sepal_width": 4.25' in changed["native"]
    assert "nobody has recorded an answer" in text_of(page(registry, row="2", x1="4.25"))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("wide", "`sepal_width`: expected a number, found `wide`"),
        ("1e999", "sepal_width"),
        ("", "sepal_width"),
        ("1" * 3000, "expected at most 2,000 characters"),
        ("<script>", "found `<script>`"),
    ],
)
def test_a_value_that_does_not_fit_is_a_sentence_and_no_request(registry, tmp_path, value, sentence):
    push_proved(registry, linear_bundle(tmp_path / "a"))
    answer = page(registry, x1=value)
    assert answer.status_code == 200
    assert sentence in text_of(answer)
    assert "curl" not in answer.text
    assert "<script>" not in answer.text


@pytest.mark.parametrize("row", ["16", "-1", "x", "99999"])
def test_a_golden_row_that_is_none_is_refused(registry, tmp_path, row):
    push_proved(registry, linear_bundle(tmp_path / "a"))
    assert page(registry, row=row).status_code == 400


def test_a_link_of_another_kind_than_http_is_no_link(registry, tmp_path):
    push_proved(registry, linear_bundle(tmp_path / "a"))
    registry.fleet.beat(replica(1, loaded(), address="javascript:alert(1)"))
    assert "javascript:" not in page(registry).text


def typed_bundle(folder, inputs: dict[str, np.ndarray], tensors: tuple[Tensor, ...], rows: int):
    model = linear_model()
    draft = linear_draft()
    outputs = linear_samples(model, rows=rows).outputs
    draft = Draft(
        **{
            **{name: getattr(draft, name) for name in draft.__struct_fields__},
            "signature": Signature(tensors, draft.signature.outputs),
        }
    )
    return write_bundle(
        folder, draft, model=model, samples=Samples(inputs, outputs, rows), requirements=REQUIREMENTS
    )


def test_texts_and_missing_values_are_in_the_request_as_json_has_them(registry, tmp_path):
    tensors = (
        Tensor(name="text", dtype="string", shape=("batch",)),
        Tensor(name="size", dtype="float32", shape=("batch", 1), allows_nan=True),
        Tensor(name="new", dtype="bool", shape=("batch",)),
    )
    inputs = {
        "text": np.array(["it's \u202e <b>"], object),
        "size": np.array([[np.nan]], np.float32),
        "new": np.array([True]),
    }
    registry.push(typed_bundle(tmp_path / "a", inputs, tensors, 1))
    read = data(registry)["trial"]
    assert read["error"] == ""
    (body,) = [json.loads(part) for part in shlex.split(read["native"]) if part.startswith("{")]
    assert body == {"data": [{"text": "it's \u202e <b>", "size": None, "new": True}]}
    answer = page(registry)
    assert "\u202e" not in answer.text
    assert "<b>" not in answer.text
    assert "expected `true` or `false`, found `maybe`" in text_of(page(registry, x2="maybe"))


def test_a_long_command_is_not_cut(registry, tmp_path):
    tensors = (Tensor(name="text", dtype="string", shape=("batch",)),)
    registry.push(typed_bundle(tmp_path / "a", {"text": np.array(["y" * 1990], object)}, tensors, 1))
    read = data(registry)["trial"]
    assert len(read["native"]) > 2000
    assert read["native"] in text_of(page(registry))


def test_an_image_is_left_to_a_file(registry, tmp_path):
    tensors = (Tensor(name="image", dtype="float32", shape=("batch", 3, 32, 32)),)
    inputs = {"image": np.zeros((2, 3, 32, 32), np.float32)}
    registry.push(typed_bundle(tmp_path / "a", inputs, tensors, 2))
    text = text_of(page(registry))
    assert "than a page has room for" in text
    assert "lading predict iris:1 --input rows.npz" in text


def test_what_is_too_large_to_read_is_said(registry, tmp_path, monkeypatch):
    monkeypatch.setattr("lading.hub.reading.MOST_FILE_BYTES", 100)
    push_proved(registry, linear_bundle(tmp_path / "a"))
    text = text_of(page(registry))
    assert "more than a page reads, 100 B: `samples.npz`" in text
    assert "float32" in text


def test_a_store_that_does_not_answer_leaves_the_rest_and_is_asked_again(registry, tmp_path, monkeypatch):
    push_proved(registry, linear_bundle(tmp_path / "a"))
    browser = Browser(registry)

    def down(_digest):
        raise RegistryUnavailable("the store", expected="an answer", found="none")

    with monkeypatch.context() as outage:
        outage.setattr(registry.store, "open", down)
        text = text_of(browser.get("/models/iris/1"))
        assert "The bundle cannot be read now." in text
        assert "check passed" in text
        assert "Whether there is one cannot be read now." in text
    assert "Recorded answer of this golden row" in text_of(browser.get("/models/iris/1"))
    # What has been read once is not read again.
    monkeypatch.setattr(registry.store, "open", down)
    assert "Recorded answer of this golden row" in text_of(browser.get("/models/iris/1"))
