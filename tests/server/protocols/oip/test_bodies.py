"""Bodies of the Open Inference Protocol that are read in one pass, compared with the general reader."""

from __future__ import annotations

import importlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lading.server.codecs.simd import LEAST_BYTES
from lading.server.protocols.oip.bodies import plain_reader
from lading.signature import Signature, Tensor
from support.bundles import linear_bundle
from support.hosted_app import AppClient, hosted, served_from

ROWS = 600
MANY = np.random.default_rng(5).standard_normal((ROWS, 4)).round(5)


@pytest.fixture(scope="module")
def readers(tmp_path_factory) -> tuple[AppClient, AppClient]:
    """Return one model twice: with the quick reader, and with the general reader alone."""
    bundle = linear_bundle(tmp_path_factory.mktemp("bodies") / "1")
    infer = importlib.import_module("lading.server.protocols.oip.infer")
    with pytest.MonkeyPatch.context() as patch:
        general = hosted(served_from(bundle, 1))
        patch.setattr(infer, "plain_reader", lambda _signature: None)
        assert general.post("/v2/models/iris/infer", body()).status_code == 200
    return hosted(served_from(bundle, 1)), general


def body(data: Any = (1, 2, 3, 4.5), shape: Any = (1, 4), **more: Any) -> dict[str, Any]:
    tensor = {"name": "X", "shape": shape, "datatype": "FP32", "data": data}
    options = {key: more.pop(key) for key in ("id", "outputs", "parameters", "else") if key in more}
    return {"inputs": [{**tensor, **more}], **options}


def signature_of(*shape: int | str, dtype: Any = "float32", name: str = "X") -> Signature:
    return Signature(inputs=(Tensor(name=name, dtype=dtype, shape=shape),), outputs=())


PLAIN = {
    "one row": body(),
    "whole numbers": body([1, 2, 3, 4]),
    "two rows": body([1, 2, 3, 4] * 2, (2, 4)),
    "an id": body(id="some-id"),
    "an id that is null": body(id=None),
    "one output": body(outputs=[{"name": "label"}]),
    "all as bytes": body(parameters={"binary_data_output": True}),
    "every field": {**body(), "model_name": None, "model_version": None, "outputs": None},
    "rows as lists": body([[1, 2, 3, 4]]),
    "rows as lists, with spaces": body([[1, 2, 3, 4], [5, 6, 7, 8]], (2, 4), id="data"),
    "an array's content type": {"inputs": [{**body()["inputs"][0], "parameters": {"content_type": "np"}}]},
    "many": body(MANY.reshape(-1).tolist(), (ROWS, 4)),
    "many in rows": body(MANY.tolist(), (ROWS, 4)),
    "many with an id": body(MANY.tolist(), (ROWS, 4), id="some-id"),
    "many with an id that is null": body(MANY.tolist(), (ROWS, 4), id=None),
    "many with outputs": body(MANY.tolist(), (ROWS, 4), outputs=[{"name": "label"}]),
    "many with no outputs": body(MANY.tolist(), (ROWS, 4), outputs=[]),
    "many with outputs as bytes": body(
        MANY.tolist(), (ROWS, 4), outputs=[{"name": "label", "parameters": {"binary_data": True}}]
    ),
    "many, all as bytes": body(MANY.tolist(), (ROWS, 4), parameters={"binary_data_output": True}),
    "many with a content type": {
        "inputs": [{**body(MANY.tolist(), (ROWS, 4))["inputs"][0], "parameters": {"content_type": "np"}}]
    },
}

OTHER = {
    "values in shared memory": {
        "inputs": [{**body()["inputs"][0], "parameters": {"shared_memory_region": "a"}}]
    },
    "values behind the JSON": {"inputs": [{**body()["inputs"][0], "parameters": {"binary_data_size": 16}}]},
    "parameters that are a number": {"inputs": [{**body()["inputs"][0], "parameters": 5}]},
    "rows of two lengths": body([[1, 2, 3, 4], [5, 6, 7]], (2, 4)),
    "rows of rows": body([[[1, 2, 3, 4]]]),
    "more rows than the shape": body([[1, 2, 3, 4]] * 3, (2, 4)),
    "another name": body(name="Y"),
    "another datatype": body(datatype="FP64"),
    "no datatype": {"inputs": [{"name": "X", "shape": [1, 4], "data": [1, 2, 3, 4]}]},
    "too few values": body([1, 2, 3]),
    "too many values": body([1, 2, 3, 4, 5]),
    "too few columns": body([1, 2, 3], (1, 3)),
    "another order": body([1, 2, 3, 4], (4, 1)),
    "one size": body([1, 2, 3, 4], (4,)),
    "no size": body([1, 2, 3, 4], ()),
    "no rows": body([], (0, 4)),
    "a negative number of rows": body([1, 2, 3, 4], (-1, 4)),
    "a huge number of rows": body([1, 2, 3, 4], (2**62, 4)),
    "a size that is no number": body(shape=("1", 4)),
    "a size that is a fraction": body(shape=(1.5, 4)),
    "a size that is true": body(shape=(True, 4)),
    "beyond a float": body([1, 2, 3, 1e39]),
    "null": body([1, 2, 3, None]),
    "true": body([1, 2, 3, True]),
    "a string": body([1, 2, 3, "4"]),
    "no data": body(data=None),
    "an output that does not exist": body(outputs=[{"name": "nothing"}]),
    "an empty list of outputs": body(outputs=[]),
    "an id that is a number": body(id=5),
    "no inputs": {"inputs": []},
    "the same input twice": {"inputs": body()["inputs"] * 2},
    "inputs as an object": {"inputs": body()["inputs"][0]},
    "a list": [1],
    "many, one too few": body(MANY.reshape(-1).tolist()[1:], (ROWS, 4)),
    "many, one row too short": body([*MANY.tolist()[1:], [1, 2, 3]], (ROWS, 4)),
    "many, one too large": body([*MANY.tolist()[1:], [1, 2, 3, 1e39]], (ROWS, 4)),
    "many, one null": body([*MANY.tolist()[1:], [1, 2, 3, None]], (ROWS, 4)),
    "many, one text": body([*MANY.tolist()[1:], [1, 2, 3, "[4"]], (ROWS, 4)),
    "many of another name": body(MANY.tolist(), (ROWS, 4), name="Y"),
    "many of a size that is true": body([[1.5] * 4] * ROWS, (True, 4)),
    "many of one row of a size that is true": body(MANY.reshape(-1).tolist(), (True, ROWS * 4)),
    "many of a size that is a fraction": body(MANY.tolist(), (ROWS, 4.0)),
    "many of a negative size": body(MANY.tolist(), (-1, 4)),
    "many of another datatype": body(MANY.tolist(), (ROWS, 4), datatype="FP64"),
    "many in shared memory": {
        "inputs": [
            {**body(MANY.tolist(), (ROWS, 4))["inputs"][0], "parameters": {"shared_memory_region": "a"}}
        ]
    },
    "many rows of two lengths": body([*MANY.tolist()[2:], [1, 2, 3], [1, 2, 3, 4, 5]], (ROWS, 4)),
    "many with parameters that are lists": body(MANY.tolist(), (ROWS, 4), parameters={"a": [[]]}),
    "many with outputs that are no list": body(MANY.tolist(), (ROWS, 4), outputs=5),
    "many with an id of brackets": body(MANY.tolist(), (ROWS, 4), id="[]"),
    "many with an id that is a number": body(MANY.tolist(), (ROWS, 4), id=7),
    "many with an unknown key": {**body(MANY.tolist(), (ROWS, 4)), "else": [1]},
}


def both(readers: tuple[AppClient, AppClient], content: bytes) -> tuple[Any, Any]:
    quick, general = (client.post("/v2/models/iris/infer", content=content) for client in readers)
    return (quick.status_code, quick.content), (general.status_code, general.content)


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_body_is_read_in_one_pass_and_answered_as_any_other(readers, name):
    content = json.dumps(PLAIN[name], indent=1 if "spaces" in name else None).encode()
    assert (len(content) >= LEAST_BYTES) == name.startswith("many")
    read = plain_reader(signature_of("batch", 4))
    assert read is not None
    assert read(content) is not None
    quick, general = both(readers, content)
    assert quick == general
    assert quick[0] == 200


@pytest.mark.parametrize("name", OTHER)
def test_another_body_is_answered_as_the_general_reader_answers_it(readers, name):
    quick, general = both(readers, json.dumps(OTHER[name]).encode())
    assert quick == general
    assert quick[0] in (200, 400)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"5", b"[]", b'{"inputs":', b"\xff", b'{"inputs": [{"name": "\xff"}]}']
)
def test_invalid_json_is_refused_as_the_general_reader_refuses_it(readers, text):
    for content in (text, text + b" " * LEAST_BYTES):
        quick, general = both(readers, content)
        assert quick == general
        assert quick[0] == 400


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("inputs", []),
        ("id", "b"),
        ("name", "Y"),
        ("shape", [1, 2]),
        ("datatype", "FP64"),
        ("data", [1.0]),
    ],
)
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_the_last_of_two_equal_keys_wins_with_either_reader(readers, key, other, many, last):
    plain = body(MANY.tolist(), (ROWS, 4), id="a") if many else body(id="a")
    inner = key not in ("inputs", "id")
    right, wrong = json.dumps((plain["inputs"][0] if inner else plain)[key]), json.dumps(other)
    pairs = [wrong, right] if last else [right, wrong]
    text = json.dumps(plain).replace(
        f'"{key}": {right}', ", ".join(f'"{key}": {value}' for value in pairs), 1
    )
    quick, general = both(readers, text.encode())
    assert quick == general
    assert (quick[0] == 200) == (last or key == "id")


@pytest.mark.parametrize("where", ["parameters", "else", "id", "data"])
def test_lists_that_are_too_deep_are_refused_by_either_reader(readers, where):
    deep = "[" * 1500 + "]" * 1500
    text = json.dumps(body(**{where: "here"})).replace('"here"', deep)
    for padding in ("", " " * LEAST_BYTES):
        quick, general = both(readers, (text + padding).encode())
        assert quick == general
        assert quick[0] == 400


@pytest.mark.parametrize("name", ["one row", "many"])
def test_a_byte_order_mark_is_refused_by_either_reader(readers, name):
    quick, general = both(readers, b"\xef\xbb\xbf" + json.dumps(PLAIN[name]).encode())
    assert quick == general
    assert quick[0] == 400


def test_a_reader_reads_again_after_a_body_that_it_rejected():
    read = plain_reader(signature_of("batch", 4))
    assert read is not None
    good = json.dumps(PLAIN["many in rows"]).encode()
    for name in (name for name in OTHER if name.startswith("many")):
        assert read(json.dumps(OTHER[name]).encode()) is None, name
        plain = read(good)
        assert plain is not None, name
        np.testing.assert_array_equal(plain.array, MANY.astype(np.float32))


def test_true_is_no_size():
    read = plain_reader(signature_of("batch", 1200))
    assert read is not None
    wide = body([0.5] * 1200, (1, 1200))
    assert read(json.dumps(wide).encode()) is not None
    assert read(json.dumps(wide).replace("[1, 1200]", "[true, 1200]").encode()) is None


@pytest.mark.parametrize(
    "signature",
    [
        signature_of(3, 4),
        signature_of("batch", "length"),
        signature_of("batch", 2, dtype="string"),
        signature_of("batch", 0),
        Signature(
            inputs=(*signature_of("batch").inputs, *signature_of("batch", name="Y").inputs), outputs=()
        ),
    ],
)
def test_a_model_without_a_plain_form_has_no_quick_reader(signature):
    assert plain_reader(signature) is None


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "uint64", "float16", "float64"])
def test_values_beyond_the_range_of_the_dtype_are_rejected(dtype):
    read = plain_reader(signature_of("batch", dtype=dtype))
    assert read is not None

    def text(value: Any) -> bytes:
        datatype = {"bool": "BOOL", "float16": "FP16", "float64": "FP64"}.get(dtype, dtype.upper())
        tensor = {"name": "X", "shape": [1], "datatype": datatype, "data": [value]}
        return json.dumps({"inputs": [tensor]}).encode()

    within: Any = True if dtype == "bool" else 1
    plain = read(text(within))
    assert plain is not None
    assert plain.array.dtype == np.dtype(dtype)
    assert plain.array.tolist() == [within]
    assert read(text(10**400 if dtype == "float64" else 10**30)) is None
    assert read(text("1")) is None
    assert read(text(None)) is None


SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5)
DATA = st.lists(SCALARS | st.floats(-10, 10), max_size=9) | st.lists(
    st.lists(st.floats(-10, 10), max_size=5), max_size=3
)


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=DATA | st.lists(st.floats(-10, 10), min_size=4, max_size=4),
    shape=st.sampled_from([(1, 4), (2, 4), (4,), (0, 4)]) | st.lists(SCALARS, max_size=3),
    more=st.dictionaries(
        st.sampled_from(["id", "outputs", "parameters", "name", "datatype"]), SCALARS, max_size=2
    ),
)
def test_both_readers_answer_any_body_alike(readers, data, shape, more):
    content = json.dumps(body(data, shape, **more)).encode()
    for padding in (0, LEAST_BYTES):
        quick, general = both(readers, content + b" " * padding)
        assert quick == general
        assert quick[0] in (200, 400)
