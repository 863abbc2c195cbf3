"""In what two bundles differ, and which of the differences callers may notice."""

from __future__ import annotations

import msgspec
import pytest

from lading.bundle import Manifest
from lading.bundle.difference import differences
from lading.bundle.formats.v2 import Check, Feature, Lineage
from lading.signature import Signature, Tensor
from support.bundles import linear_bundle, linear_draft

COLUMNS = ("a", "b", "c")
X = Tensor(name="x", dtype="float32", shape=("batch", 3), columns=COLUMNS, allows_nan=True)
N = Tensor(name="n", dtype="int64", shape=("batch", "length"))
Y = Tensor(name="value", dtype="float32", shape=("batch", 2), columns=("low", "high"))
SIGNATURE = Signature(inputs=(X, N), outputs=(Y,))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Manifest:
    bundle = linear_bundle(tmp_path_factory.mktemp("bundles") / "iris")
    return msgspec.structs.replace(bundle.manifest, signature=SIGNATURE)


def having(manifest: Manifest, *inputs: Tensor, outputs: tuple[Tensor, ...] = (Y,), **changes) -> Manifest:
    signature = Signature(inputs=inputs or (X, N), outputs=outputs)
    return msgspec.structs.replace(manifest, signature=signature, **changes)


def x(**changes) -> Tensor:
    return msgspec.structs.replace(X, **changes)


def y(**changes) -> Tensor:
    return msgspec.structs.replace(Y, **changes)


def test_a_bundle_does_not_differ_from_itself(manifest):
    assert differences(manifest, manifest) == ()


@pytest.mark.parametrize(
    ("inputs", "outputs", "text"),
    [
        ((x(shape=("batch", 2), columns=("a", "c")), N), (Y,), "input `x`, columns: 3 → 2, without `b`"),
        ((x(columns=("b", "a", "c")), N), (Y,), "columns: `a` as number 1 → `b`, another order"),
        ((x(columns=("a", "b", "d")), N), (Y,), "columns: 3 → 3, without `c` and with `d`"),
        ((x(columns=()), N), (Y,), "columns: 3 named → unnamed"),
        ((x(dtype="float64"), N), (Y,), "input `x`, dtype: float32 → float64"),
        ((x(name="rows"), N), (Y,), "input `rows`: none → float32 [batch, 3]"),
        ((x(allows_nan=False), N), (Y,), "missing values: allowed → refused"),
        ((x(nan_columns=(1,)), N), (Y,), "missing values: allowed → allowed in `b`"),
        ((X,), (Y,), "input `n`: int64 [batch, length] → none"),
        ((N, X), (Y,), "order of inputs: `x`, `n` → `n`, `x`"),
        ((X, msgspec.structs.replace(N, shape=("batch", 4))), (Y,), "[batch, length] → [batch, 4]"),
        ((X, msgspec.structs.replace(N, shape=("rows", "length"))), (Y,), "[batch, length] → [rows, length]"),
        ((X, N), (y(name="score"),), "output `value`: float32 [batch, 2] → none"),
        ((X, N), (y(dtype="float64"),), "output `value`, dtype: float32 → float64"),
        ((X, N), (y(columns=("high", "low")),), "output `value`, columns: `low` as number 1 → `high`"),
        ((X, N), (y(shape=("batch", "classes")),), "[batch, 2] → [batch, classes]"),
        ((X, N), (Y, y(name="probabilities")), "output of `predict`: `value` → `probabilities`"),
    ],
)
def test_callers_may_notice(manifest, inputs, outputs, text):
    listed = differences(manifest, having(manifest, *inputs, outputs=outputs))
    assert listed[0].breaks, "what callers may notice comes first"
    assert any(text in str(difference) for difference in listed if difference.breaks), list(map(str, listed))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"inputs": (x(shape=("batch", 3), columns=()), N)}, {}),
        ({"inputs": (x(allows_nan=False), N)}, {}),
        ({"inputs": (x(nan_columns=(1,)), N)}, {}),
        ({"inputs": (X, msgspec.structs.replace(N, shape=("batch", 4)))}, {}),
        ({}, {"outputs": (Y, y(name="extra"))}),
        ({}, {"inputs": (X, msgspec.structs.replace(N, shape=("batch", "words")))}),
    ],
)
def test_what_accepts_more_or_answers_more_is_shown_and_breaks_nothing(manifest, old, new):
    before, after = (
        having(manifest, *side.get("inputs", ()), outputs=side.get("outputs", (Y,))) for side in (old, new)
    )
    (difference,) = differences(before, after)
    assert not difference.breaks, str(difference)


def test_another_name_or_order_of_labels_is_noticed(manifest):
    (difference,) = differences(manifest, having(manifest, labels={**manifest.labels, "0": "rose"}))
    assert (str(difference), difference.breaks) == ("label of class `0`: setosa → rose", True)
    swapped = {"0": "versicolor", "1": "setosa", "2": "virginica"}
    assert [d.where for d in differences(manifest, having(manifest, labels=swapped))] == [
        "label of class `0`",
        "label of class `1`",
    ]


def test_environment_and_metrics_are_shown_and_break_nothing(manifest):
    training = msgspec.structs.replace(manifest.training, python="3.12.1", packages={"numpy": "2.1.0"})
    after = having(manifest, training=training, metrics={"accuracy": 0.95}, purpose="triage")
    listed = {difference.where: str(difference) for difference in differences(manifest, after)}
    assert listed["Python of training"] == "Python of training: 3.11.0 → 3.12.1"
    assert listed["metric `accuracy`"].endswith("0.9 → 0.95")
    assert listed["package `onnxruntime`"].endswith("1.20.0 → none")
    assert listed["purpose"] == "purpose: classification → triage"
    assert not any(difference.breaks for difference in differences(manifest, after))


def test_every_key_of_a_draft_is_compared(manifest):
    """A key that the format gains later must not go live without a word."""
    left_out = {"name"}
    other = {
        "runtime": "other",
        "signature": Signature(inputs=(X,), outputs=(Y,)),
        "labels": {},
        "purpose": "p",
        "owner": "o",
        "description": "d",
        "metrics": {},
        "tolerance": msgspec.structs.replace(manifest.tolerance, max_label_flips=3),
        "expected_from": "e",
        "training": msgspec.structs.replace(manifest.training, git_commit="abc"),
        "python": "3.12",
        "entry": "churn:Churn",
        "steps": ("code:predict",),
        "formats": ("skops",),
        "executes": "code",
        "checks": (Check(input="x", minimum=0.0),),
        "features": {"x": Feature(table="t", key="k", column="c")},
        "lineage": Lineage(data="sha256:" + 64 * "0"),
        "slices": ("x",),
    }
    assert set(other) == set(linear_draft().__struct_fields__) - left_out
    for key, value in other.items():
        assert differences(manifest, msgspec.structs.replace(manifest, **{key: value})), key
