"""Estimators made known to skl2onnx: for a conversion, and not beyond it."""

from __future__ import annotations

import pytest
from skl2onnx._supported_operators import sklearn_operator_name_map
from sklearn.dummy import DummyClassifier
from sklearn.preprocessing import FunctionTransformer

from lading.convert.sklearn_added import ADDED, added_converters


def test_the_tables_of_skl2onnx_are_as_they_were_after_a_conversion_that_fails():
    before = dict(sklearn_operator_name_map)
    during = {}

    def convert_and_fail():
        with added_converters():
            during.update(sklearn_operator_name_map)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        convert_and_fail()
    assert during[DummyClassifier] == "LadingDummyClassifier"
    assert sklearn_operator_name_map == before
    assert DummyClassifier not in sklearn_operator_name_map
    assert sklearn_operator_name_map[FunctionTransformer] == "SklearnFunctionTransformer"


def test_every_added_estimator_states_a_label_first_or_one_output():
    assert all(len(added.outputs) == 1 or added.outputs[0] == "label" for added in ADDED.values())
