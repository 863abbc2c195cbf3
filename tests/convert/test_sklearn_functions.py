"""Functions of numpy as graphs: the same numbers, also where they are small, large or not finite."""

from __future__ import annotations

import warnings

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import skl2onnx
from scipy import special
from skl2onnx.common.data_types import DoubleTensorType
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from lading.convert.sklearn_added import added_converters
from lading.errors import ConverterFailed
from lading.pack import pack
from support.sklearn_models import OWNER, X
from support.sklearn_survey import count_disagreements

RANDOM = np.random.default_rng(0)
EDGES = [
    0.0,
    1.0,
    -1.0,
    1e-12,
    -1e-12,
    1e-5,
    1e-300,
    1e160,
    -1e160,
    1e300,
    2.5,
    -2.5,
    np.inf,
    -np.inf,
    np.nan,
]
VALUES = np.concatenate([EDGES, RANDOM.normal(0, 20, 100), RANDOM.random(100)])[:, None]
EXACT = [
    *(np.abs, np.fabs, np.cbrt, np.ceil, np.floor, np.rint, np.round, np.sign, np.negative, np.positive),
    *(np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10, np.log1p, np.sqrt, np.square, np.reciprocal),
    *(np.sin, np.sinh, np.tanh, np.arcsinh, np.degrees, np.radians, np.rad2deg, np.deg2rad),
    *(special.expit, special.exp10, special.logit),
]


def computed(function):
    """Return the values of a converted FunctionTransformer."""
    with added_converters():
        model = skl2onnx.convert_sklearn(
            FunctionTransformer(function).fit(VALUES),
            initial_types=[("X", DoubleTensorType([None, 1]))],
            target_opset={"": 18, "ai.onnx.ml": 3},
        )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"X": VALUES})[0]


def expected(function):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return function(VALUES)


@pytest.mark.parametrize("function", EXACT, ids=lambda function: function.__name__)
def test_a_function_has_numpys_digits(function):
    np.testing.assert_allclose(computed(function), expected(function), rtol=1e-9, atol=0)


@pytest.mark.parametrize("function", [np.cos, np.tan, np.arctan], ids=lambda function: function.__name__)
def test_a_function_of_angles_has_the_digits_of_its_kernel(function):
    np.testing.assert_allclose(computed(function), expected(function), rtol=1e-6, atol=1e-12)


@pytest.mark.slow
def test_functions_are_applied_to_columns_and_in_pipelines(tmp_path):
    frame = pd.DataFrame(np.abs(X) + 0.1, columns=["a", "b", "c", "d"])
    columns = ColumnTransformer(
        [
            ("log", FunctionTransformer(np.log1p), ["a", "b"]),
            ("clip", FunctionTransformer(np.clip, kw_args={"a_min": 1.0, "a_max": 4.0}), ["c"]),
        ],
        remainder="passthrough",
    )
    model = make_pipeline(columns, FunctionTransformer(np.sqrt), FunctionTransformer(), Ridge())
    model.fit(frame, frame.sum(axis=1))
    bundle = pack(model, name="m", samples=frame[:100], owner=OWNER, to=tmp_path / "b")
    assert count_disagreements(bundle, model, frame[100:]) == 0


def add_one(values):
    return values + 1


@pytest.mark.parametrize(
    ("transformer", "found"),
    [
        (FunctionTransformer(add_one), "found `add_one`"),
        (FunctionTransformer(np.round, kw_args={"decimals": 1}), "found `round` with `decimals`"),
    ],
)
def test_another_function_is_refused_by_name_with_the_way_out(tmp_path, transformer, found):
    model = make_pipeline(transformer, Ridge()).fit(X, X[:, 0])
    with pytest.raises(ConverterFailed) as refusal:
        pack(model, name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    assert found in refusal.value.message
    assert "np.log1p" in str(refusal.value.hint)
