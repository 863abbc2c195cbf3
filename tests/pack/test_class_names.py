"""Display names of classes, matched with the class values of the model."""

from __future__ import annotations

import json

import pytest
from sklearn.linear_model import LinearRegression

from lading.errors import InvalidSetting
from lading.pack import pack
from lading.pack.class_names import display_names
from lading.signature import Signature, Tensor
from support.sklearn_models import OWNER, X, Y

IRIS = ("setosa", "versicolor", "virginica")
CLASSIFIER = Signature((), (Tensor(name="label", dtype="int64", shape=("batch",)),))


@pytest.mark.parametrize(
    "labels",
    [IRIS, {"5": IRIS[0], "6": IRIS[1], "7": IRIS[2]}, {5: "setosa", 6: "versicolor", 7: "virginica"}],
)
def test_names_are_in_class_order_or_by_class_value(labels):
    names = display_names(labels, ("5", "6", "7"), CLASSIFIER)
    assert names == {"5": "setosa", "6": "versicolor", "7": "virginica"}


def test_without_known_class_values_names_are_counted_from_zero():
    assert display_names(["no", "yes"], (), CLASSIFIER) == {"0": "no", "1": "yes"}
    assert display_names(None, ("0", "1"), CLASSIFIER) == {}


def test_names_are_read_from_a_json_file(tmp_path):
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(IRIS))
    assert display_names(file, ("0", "1", "2"), CLASSIFIER)["2"] == "virginica"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "expected a JSON file"),
        ("5", "expected a list of names"),
        ('{"0": 1}', "expected a list of names"),
    ],
)
def test_a_file_of_anything_but_names_is_refused(tmp_path, content, sentence):
    file = tmp_path / "labels.json"
    file.write_text(content)
    with pytest.raises(InvalidSetting, match=sentence):
        display_names(file, ("0", "1"), CLASSIFIER)


def test_labels_of_a_regressor_are_refused(tmp_path):
    with pytest.raises(InvalidSetting, match="a model that gives a `label`"):
        pack(LinearRegression().fit(X, Y), name="m", samples=X, owner=OWNER, labels=IRIS, to=tmp_path / "b")
