"""Hostile ``model.onnx``: section 3 of FORMAT.md. External data in every message, and invalid protobuf."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from lading.bundle import Bundle
from lading.bundle.external import external_data
from lading.errors import ExternalDataEscapes, FileMissing, FileUnexpected, ModelInvalid
from support.bundles import linear_model
from support.forged_bundles import put, refused_both, rewrite

ESCAPES = [
    "/etc/passwd",
    "../weights",
    "a/../../weights",
    "sub/weights",
    "..",
    "",
    "weights",
    "model.onnx",
    "bundle.json",
    "samples.npz",
    "*/_ORT_MEM_ADDR_/*",
    "http://example.com/weights",
    "\x1b[31m",
]


def tensor(location="../weights", **more):
    built = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    built.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        built.external_data.add(key=key, value=value)
    return built


def graph_of(nodes=(), initializers=(), sparse=()):
    return helper.make_graph(list(nodes), "g", [], [], list(initializers), sparse_initializer=list(sparse))


def sparse(values=None, indices=None):
    built = onnx.SparseTensorProto(dims=[4])
    built.values.CopyFrom(values or TensorProto())
    built.indices.CopyFrom(indices or TensorProto())
    return built


def node(**attributes):
    return helper.make_node("Op", [], ["y"], **attributes)


def model_of(graph):
    return helper.make_model(graph)


def in_function(t):
    model = model_of(graph_of())
    model.functions.append(helper.make_function("d", "f", [], [], [node(value=t)], []))
    return model


def in_function_default(t):
    model = model_of(graph_of())
    function = helper.make_function("d", "f", [], [], [], [])
    function.attribute_proto.append(helper.make_attribute("value", t))
    model.functions.append(function)
    return model


def in_training(t, field):
    model = model_of(graph_of())
    getattr(model.training_info.add(), field).initializer.append(t)
    return model


def deep(t, levels):
    graph = graph_of(initializers=[t])
    for _ in range(levels):
        graph = graph_of([node(body=graph)])
    return model_of(graph)


PLACES = {
    "initializer": lambda t: model_of(graph_of(initializers=[t])),
    "attribute": lambda t: model_of(graph_of([node(value=t)])),
    "attribute list": lambda t: model_of(graph_of([node(values=[t, t])])),
    "subgraph": lambda t: model_of(graph_of([node(body=graph_of(initializers=[t]))])),
    "list of subgraphs": lambda t: model_of(
        graph_of([node(bodies=[graph_of(), graph_of(initializers=[t])])])
    ),
    "subgraph of a subgraph": lambda t: deep(t, 9),
    "sparse values": lambda t: model_of(graph_of(sparse=[sparse(values=t)])),
    "sparse indices": lambda t: model_of(graph_of(sparse=[sparse(indices=t)])),
    "sparse attribute": lambda t: model_of(graph_of([node(value=sparse(values=t))])),
    "sparse attribute list": lambda t: model_of(graph_of([node(values=[sparse(indices=t)])])),
    "function": in_function,
    "default of a function": in_function_default,
    "training initialization": lambda t: in_training(t, "initialization"),
    "training algorithm": lambda t: in_training(t, "algorithm"),
}


@pytest.mark.parametrize("place", PLACES)
def test_external_data_outside_the_bundle_is_refused_in_every_message(bundle, place):
    data = PLACES[place](tensor()).SerializeToString()
    refused_both(put(bundle, "model.onnx", data), ExternalDataEscapes, "../weights")


@pytest.mark.parametrize("location", ESCAPES)
def test_a_location_that_is_no_file_of_the_bundle_is_refused(bundle, location):
    data = PLACES["initializer"](tensor(location)).SerializeToString()
    refused_both(put(bundle, "model.onnx", data), ExternalDataEscapes, "model.onnx")


def test_a_location_counts_even_if_the_tensor_states_that_its_data_is_inside(bundle):
    hidden = tensor()
    hidden.data_location = TensorProto.DEFAULT
    data = PLACES["initializer"](hidden).SerializeToString()
    refused_both(put(bundle, "model.onnx", data), ExternalDataEscapes)


def test_both_of_two_equal_fields_are_scanned(bundle):
    # A parser merges the two halves of one graph, or of one tensor, into one.
    good = linear_model()
    half = onnx.ModelProto(graph=graph_of(initializers=[tensor()])).SerializeToString()
    for data in (good + half, half + good):
        refused_both(put(bundle, "model.onnx", data), ExternalDataEscapes)


def test_unknown_fields_of_newer_onnx_are_skipped(bundle):
    unknown = bytes([0xFA, 0x7F, 3]) + b"abc" + bytes([0xF0, 0x7F, 1]) + bytes([0xF5, 0x7F]) + b"\0" * 4
    Bundle.open(put(bundle, "model.onnx", linear_model() + unknown))


@pytest.mark.parametrize(
    "build",
    [
        lambda: tensor(offset="-1"),
        lambda: tensor(offset="x"),
        lambda: tensor(length="1e9"),
        lambda: tensor(length="9" * 20),
        lambda: tensor(length=""),
    ],
)
def test_an_offset_or_length_that_is_no_number_is_refused(bundle, build):
    refused_both(put(bundle, "model.onnx", PLACES["initializer"](build()).SerializeToString()), ModelInvalid)


def test_two_locations_for_one_tensor_are_refused(bundle):
    twice = tensor("weights")
    twice.external_data.add(key="location", value="../weights")
    refused_both(
        put(bundle, "model.onnx", PLACES["initializer"](twice).SerializeToString()), ModelInvalid, "twice"
    )


def test_external_data_without_a_location_is_refused(bundle):
    bare = TensorProto(name="w", data_location=TensorProto.EXTERNAL)
    refused_both(
        put(bundle, "model.onnx", PLACES["initializer"](bare).SerializeToString()), ModelInvalid, "location"
    )


def with_weights(bundle, size=8, **more):
    (bundle / "weights").write_bytes(bytes(size))
    put(bundle, "model.onnx", PLACES["initializer"](tensor("weights", **more)).SerializeToString())
    return put(bundle, "weights", bytes(size))


def test_external_data_inside_the_bundle_is_accepted(bundle):
    Bundle.open(with_weights(bundle, 8, offset="4", length="4"))


@pytest.mark.parametrize("more", [{"offset": "9"}, {"length": "9"}, {"offset": "4", "length": "5"}])
def test_external_data_beyond_the_end_of_its_file_is_refused(bundle, more):
    refused_both(with_weights(bundle, **more), ExternalDataEscapes, "at most 8 bytes of `weights`")


def test_weights_packed_for_a_kernel_are_refused(bundle):
    packed = {"prepacked_0": "MatMul+1|0;8;0"}
    refused_both(with_weights(bundle, **packed), ModelInvalid, "packed for a kernel")


def test_external_data_in_a_missing_file_is_refused(bundle):
    with_weights(bundle)
    (bundle / "weights").unlink()
    refused_both(bundle, FileMissing, "`weights`")


def test_external_data_that_the_manifest_does_not_name_is_refused(bundle):
    with_weights(bundle)
    refused_both(rewrite(bundle, lambda tree: tree["files"].pop("weights")), FileUnexpected, "weights")


def test_a_file_that_the_model_does_not_read_is_refused(bundle):
    refused_both(put(bundle, "weights", b"smuggled"), FileUnexpected, "`weights`", "the model reads")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"not a model",
        b"\x80" * 20,
        b"\x3a",
        b"\x3a\x05abc",
        b"\x3a\xff\xff\xff\xff\x0f",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x08",
        b"\x08" + b"\x80" * 10 + b"\x01",
        b"\x0b\x0c",
        b"\x0e",
        b"\x0d\x00",
        b"\x09\x00\x00",
        b"\x07\x00",
        b"\xfa\xff\xff\xff\xff\x01\x00",
        b"\x08\x08",
        b"\x00\x00\x00\x00ORTM" + b"\0" * 100,
        b"<html>",
        b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
    ],
    ids=lambda data: data[:12].hex() or "empty",
)
def test_bytes_that_are_no_model_are_refused(bundle, data):
    refused_both(put(bundle, "model.onnx", data), ModelInvalid, "model.onnx")


def test_a_truncated_model_is_refused(bundle):
    data = linear_model()
    whole = []
    for end in range(len(data)):
        try:
            external_data(data[:end])
            whole.append(end)
        except ModelInvalid:
            pass
    # A protobuf cut between two fields of its outermost message is still a protobuf.
    assert len(whole) <= 3


def wrapped(tag, data):
    size, length = bytearray(), len(data)
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([tag]) + bytes([*size, length]) + data


@pytest.mark.slow
@pytest.mark.parametrize("levels", [40, 20_000])
def test_messages_nested_too_deeply_are_refused(bundle, levels):
    # By hand: the protobuf package neither reads nor builds more than 100 levels.
    data = graph_of(initializers=[tensor()]).SerializeToString()
    for _ in range(levels):
        for tag in (6 << 3 | 2, 5 << 3 | 2, 1 << 3 | 2):  # graph in attribute in node in graph
            data = wrapped(tag, data)
    refused_both(put(bundle, "model.onnx", wrapped(7 << 3 | 2, data)), ModelInvalid, "nested")


def test_a_model_is_scanned_as_protobuf_reads_it():
    """Every message of the real parser is visited."""
    for place in PLACES.values():
        data = place(tensor("a", offset="4096", length="12")).SerializeToString()
        assert {
            (reference.location, reference.offset, reference.length) for reference in external_data(data)
        } == {("a", 4096, 12)}


def test_external_data_behind_long_runs_of_numbers_is_found():
    """A tree ensemble repeats its fields unpacked; a field behind the run must be seen."""
    trees = node(
        values=[0.5] * 5000, ids=list(range(-50, 5000)), modes=["BRANCH_LEQ", "LEAF", "x" * 40] * 1000
    )
    hidden = helper.make_attribute("z", tensor())
    trees.attribute.append(hidden)
    assert [
        reference.location for reference in external_data(model_of(graph_of([trees])).SerializeToString())
    ] == ["../weights"]
