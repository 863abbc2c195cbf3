"""The external data of a model, found in its protobuf bytes; tests/attacks hides some."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.bundle.external import ExternalData, check_external, external_data, tensor_sizes
from lading.errors import (
    ExternalDataEscapes,
    ModelInvalid,
)
from support.bundles import linear_model


@given(st.binary(max_size=300))
def test_any_other_bytes_are_no_model(data):
    with contextlib.suppress(ModelInvalid):
        external_data(data)


def test_a_model_that_holds_its_weights_reads_no_file():
    assert external_data(linear_model()) == []
    assert sum(tensor_sizes(linear_model(), {})) > 0


def test_a_reference_must_stay_inside_a_file_of_the_bundle():
    assert check_external(
        [ExternalData("weights", 4, 6), ExternalData("more")], {"weights": 10, "more": 0}
    ) == {
        "weights",
        "more",
    }
    with pytest.raises(ExternalDataEscapes, match="at most 10 bytes of `weights`, found 11"):
        check_external([ExternalData("weights", 5, 6)], {"weights": 10})
    with pytest.raises(ExternalDataEscapes, match=r"found `\.\./weights`"):
        check_external([ExternalData("../weights")], {"weights": 10})
