"""Arrays and golden samples as plain JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lading.server.protocols.native.json_values import dumps, first_expected, first_sample, sample_rows
from support.hosted_app import served_from
from support.small_models import people


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.array([[1.5, np.nan]], np.float32), b"[[1.5,null]]"),
        (np.array(["a", "각"], object), '["a","각"]'.encode()),
        (np.arange(6).reshape(2, 3).T, b"[[0,3],[1,4],[2,5]]"),  # Strided: not contiguous in memory.
        (np.float32(0.1), b"0.1"),
        ({"a": np.array([True])}, b'{"a":[true]}'),
    ],
)
def test_arrays_are_written_as_lists(value, text):
    if isinstance(value, np.float32):
        assert json.loads(dumps(value)) == pytest.approx(0.1)
    else:
        assert dumps(value) == text


def test_anything_else_is_no_json():
    with pytest.raises(TypeError):
        dumps(object())


def test_the_first_sample_of_one_input_is_a_list_of_rows(iris):
    served = iris.app.plane.resolve("iris")
    sample = first_sample(served)
    assert sample["X"].shape == (1, 4)
    np.testing.assert_array_equal(sample_rows(served, sample), served.samples.inputs["X"][:1])
    assert first_expected(served)["probabilities"].shape == (1, 3)


def test_the_first_sample_of_several_inputs_is_a_list_of_objects(tmp_path):
    served = served_from(people(tmp_path / "people"))
    assert sample_rows(served, first_sample(served)) == [{"age": 1.0, "city": "seoul"}]
