"""Hostile ``bundle.json``: section 2 of FORMAT.md, in both forms of a bundle."""

from __future__ import annotations

import json

import pytest

from lading.bundle import Bundle
from lading.errors import (
    DigestMismatch,
    DuplicateEntry,
    FileMissing,
    FormatUnsupported,
    InvalidName,
    ManifestInvalid,
    ManifestNotCanonical,
    PathUnsafe,
    TooLarge,
    UnknownKey,
)
from support.forged_bundles import dump, entry, refused_both, refused_directory, rewrite, seal


def manifest(bundle):
    return json.loads((bundle / "bundle.json").read_bytes())


def replaced(bundle, path, value):
    """Set the value at a dotted path of the manifest and seal it again."""

    def change(tree):
        *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        for key in parents:
            tree = tree[key]
        tree[last] = value

    return rewrite(bundle, change)


def test_an_undamaged_manifest_is_accepted(bundle):
    before = (bundle / "bundle.json").read_bytes()
    assert (rewrite(bundle) / "bundle.json").read_bytes() == before
    Bundle.open(bundle)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "an object"),
        (b"null", "an object"),
        (b"{}{}", "JSON"),
        (b"\xff\xfe{}", "UTF-8"),
        (b'{"name":"\xff"}', "UTF-8"),
        (b"\xef\xbb\xbf{}", "JSON"),
        (b'{"format":1,"a":NaN}', "finite"),
        (b'{"format":1,"a":-Infinity}', "finite"),
        (b'{"format":1,"a":"\\ud800"}', "JSON"),
        (b'{"a":' * 100_000, "JSON"),
        (b'{"format":1,"a":' + b"9" * 5000 + b"}", "JSON"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_text_that_is_not_json_is_refused(bundle, data, words):
    (bundle / "bundle.json").write_bytes(data)
    refused_both(bundle, ManifestInvalid, "bundle.json", words)


@pytest.mark.parametrize("number", [0, 3, -1, "1", 1.0, True, None, [1]], ids=repr)
def test_another_format_number_is_refused(bundle, number):
    refused_both(replaced(bundle, "format", number), FormatUnsupported, "$.format", "expected `1`")


def test_a_manifest_without_format_number_is_refused(bundle):
    refused_both(rewrite(bundle, lambda tree: tree.pop("format")), FormatUnsupported, "found none")


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("extra", "`$`"),
        ("training.host", "$.training"),
        ("signature.kind", "$.signature"),
        ("signature.inputs.0.unit", "$.signature.inputs[0]"),
        ("tolerance.ulp", "$.tolerance"),
        ("files.model.onnx", None),
    ],
)
def test_an_unknown_key_is_refused(bundle, path, where):
    if where is None:
        rewrite(bundle, lambda tree: tree["files"]["model.onnx"].update(mode="0755"))
        return refused_both(bundle, UnknownKey, "`mode`")
    return refused_both(replaced(bundle, path, 1), UnknownKey, where, f"`{path.rpartition('.')[2]}`")


@pytest.mark.parametrize("key", ["name", "signature", "owner", "files", "seal", "training", "tolerance"])
def test_a_missing_key_is_refused(bundle, key):
    tree = seal(manifest(bundle))
    del tree[key]
    (bundle / "bundle.json").write_bytes(dump(tree if key == "seal" else seal(tree)))
    refused_both(bundle, ManifestInvalid, f"`{key}`")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("owner", 1),
        ("owner", ""),
        ("owner", "  "),
        ("owner", "a\nb"),
        ("purpose", "\x1b[31mred"),
        ("expected_from", ""),
        ("runtime", "pickle"),
        ("labels", ["a"]),
        ("labels", {"0": 1}),
        ("metrics", {"accuracy": "high"}),
        ("metrics", {"accuracy": True}),
        ("metrics", {"accuracy": 10**400}),
        ("tolerance.rtol", -1e-9),
        ("tolerance.atol", -1.0),
        ("tolerance.max_label_flips", -1),
        ("tolerance.max_label_flips", 0.5),
        ("signature.inputs", []),
        ("signature.outputs", []),
        ("signature.inputs.0.dtype", "object"),
        ("signature.inputs.0.dtype", "complex64"),
        ("signature.inputs.0.name", ""),
        ("signature.inputs.0.name", "X\0"),
        ("signature.inputs.0.shape", ["batch", 0]),
        ("signature.inputs.0.shape", ["batch", -4]),
        ("signature.inputs.0.shape", ["batch", 4.0]),
        ("signature.inputs.0.shape", ["batch", True]),
        ("signature.inputs.0.shape", ["batch", ""]),
        ("signature.inputs.0.shape", ["n", "batch"]),
        ("signature.inputs.0.columns", ["a", "b", "c"]),
        ("signature.outputs.0.allows_nan", True),
        ("signature.independent_rows", 0),
        ("signature.inputs.0.nan_columns", [0]),  # without `allows_nan`
        ("training.packages", {"numpy": 2}),
        ("files.model.onnx", None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_value_outside_its_rule_is_refused(bundle, path, value):
    if path == "files.model.onnx":
        rewrite(bundle, lambda tree: tree["files"].update({"model.onnx": None}))
    else:
        replaced(bundle, path, value)
    refused_both(bundle, ManifestInvalid, "bundle.json")


@pytest.mark.parametrize("shape", [["batch", 4], ["batch", "n"], ["batch"], ["batch", 2, 4]], ids=str)
@pytest.mark.parametrize("columns", [[1, 0], [1, 1], [-1], [4], [0, 1, 2, 3], [0.5], [True], ["a"], None])
def test_columns_that_may_be_missing_are_some_of_the_columns(bundle, shape, columns):
    replaced(bundle, "signature.inputs.0.shape", shape)
    replaced(bundle, "signature.inputs.0.allows_nan", True)
    refused_both(replaced(bundle, "signature.inputs.0.nan_columns", columns), ManifestInvalid, "nan_columns")


@pytest.mark.parametrize("path", ["metrics.accuracy", "tolerance.rtol", "tolerance.atol"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")], ids=str)
def test_a_number_that_is_not_finite_is_refused(bundle, path, value):
    refused_both(replaced(bundle, path, value), ManifestInvalid, "finite")


def test_a_number_that_overflows_to_infinity_is_refused(bundle):
    data = (bundle / "bundle.json").read_bytes()
    (bundle / "bundle.json").write_bytes(data.replace(b'"accuracy":0.9', b'"accuracy":1e999'))
    refused_both(bundle, ManifestInvalid, "JSON")


@pytest.mark.parametrize(
    "name", ["Iris", "", "-iris", "iris-", "a" * 64, "../iris", "a/b", "i ris", "iris\n", "ïris"]
)
def test_a_name_outside_the_grammar_is_refused(bundle, name):
    refused_directory(replaced(bundle, "name", name), InvalidName, "$.name")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"description"', b'{ "description"'),
        (b'"format":1', b'"format": 1'),
        (b"ml@example.com", b"ml\\u0040example.com"),
        (b'"accuracy":0.9', b'"accuracy":0.90'),
        (b'"accuracy":0.9', b'"accuracy":9e-1'),
        (b'"rtol":0.0001', b'"rtol":1e-4'),
        (b'"dtype":"int64"', b'"columns":[],"dtype":"int64"'),
        (b'"dtype":"int64"', b'"allows_nan":false,"dtype":"int64"'),
        (b'"signature":{', b'"signature":{"independent_rows":true,'),
        (b'"name":"X"', b'"name":"X","nan_columns":[]'),
        (b',"git_commit":null', b""),
    ],
    ids=lambda value: value.decode(),
)
def test_the_same_content_in_other_bytes_is_refused(bundle, old, new):
    data = (bundle / "bundle.json").read_bytes()
    assert old in data
    (bundle / "bundle.json").write_bytes(data.replace(old, new, 1))
    refused_both(bundle, ManifestNotCanonical, "bundle.json")


def test_unsorted_keys_and_a_last_newline_are_refused(bundle):
    tree = manifest(bundle)
    data = (bundle / "bundle.json").read_bytes()
    backwards = dict(reversed(tree.items()))
    for other in (json.dumps(backwards, separators=(",", ":")).encode(), data + b"\n", b" " + data):
        (bundle / "bundle.json").write_bytes(other)
        refused_both(bundle, ManifestNotCanonical)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        (b'"format":1', b'"format":1,"format":1', "format"),
        (b'"owner":', b'"owner":"x","owner":', "owner"),
        (b'"dtype":"int64"', b'"dtype":"int64","dtype":"string"', "dtype"),
        (b'"format":1', b'"form\\u0061t":2,"format":1', "format"),
    ],
)
def test_a_duplicate_key_is_refused(bundle, old, new, key):
    data = (bundle / "bundle.json").read_bytes()
    (bundle / "bundle.json").write_bytes(data.replace(old, new, 1))
    refused_both(bundle, DuplicateEntry, f"`{key}` twice")


def test_rows_that_depend_on_each_other_need_rows(bundle):
    def without_rows(tree):
        tree["signature"]["independent_rows"] = False
        for side in ("inputs", "outputs"):
            for tensor in tree["signature"][side]:
                tensor["shape"][0] = "n"

    refused_both(rewrite(bundle, without_rows), ManifestInvalid, "independent_rows")


@pytest.mark.slow
def test_a_duplicate_among_many_keys_is_refused_in_linear_time(bundle):
    keys = ",".join(f'"{at}":0' for at in range(400_000))
    (bundle / "bundle.json").write_bytes(f'{{{keys},"399999":1}}'.encode())
    refused_both(bundle, DuplicateEntry)


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_a_duplicate_tensor_name_is_refused(bundle, side):
    rewrite(bundle, lambda tree: tree["signature"][side].append(tree["signature"][side][0]))
    refused_both(bundle, DuplicateEntry, f"$.signature.{side}")


def test_a_duplicate_column_is_refused(bundle):
    refused_both(replaced(bundle, "signature.inputs.0.columns", ["a", "b", "a", "c"]), DuplicateEntry)


def test_one_changed_character_breaks_the_seal(bundle):
    data = (bundle / "bundle.json").read_bytes()
    (bundle / "bundle.json").write_bytes(data.replace(b"ml@example.com", b"mi@example.com"))
    refused_both(bundle, DigestMismatch, "bundle.json", "$.seal")


def test_every_flipped_bit_of_the_manifest_is_refused(bundle):
    data = (bundle / "bundle.json").read_bytes()
    for at in range(0, len(data), 3):
        spoiled = bytearray(data)
        spoiled[at] ^= 1 << at % 8
        (bundle / "bundle.json").write_bytes(spoiled)
        with pytest.raises(Exception, match=r"bundle\.json"):
            Bundle.open(bundle)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../model",
        "a/b",
        "a\\b",
        "..",
        ".",
        ".hidden",
        "",
        "a\0b",
        "C:x",
        "é",
        "x" * 101,
        "a b",
    ],
)
def test_a_file_name_that_could_leave_the_bundle_is_refused(bundle, name):
    rewrite(bundle, lambda tree: tree["files"].update({name: entry(b"")}))
    refused_both(bundle, PathUnsafe, "$.files")


@pytest.mark.parametrize("name", ["model.onnx", "samples.npz", "requirements.txt"])
def test_a_manifest_that_does_not_name_a_required_file_is_refused(bundle, name):
    refused_both(rewrite(bundle, lambda tree: tree["files"].pop(name)), FileMissing, f"`{name}`")


def test_a_manifest_that_names_itself_is_refused(bundle):
    rewrite(bundle, lambda tree: tree["files"].update({"bundle.json": entry(b"")}))
    refused_directory(bundle, ManifestInvalid, "$.files")


@pytest.mark.parametrize("name", ["Model.ONNX", "BUNDLE.json"])
def test_names_that_differ_by_case_only_are_refused(bundle, name):
    rewrite(bundle, lambda tree: tree["files"].update({name: entry(b"")}))
    refused_both(bundle, DuplicateEntry, "$.files")


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "A" * 64, "sha256:" + "0" * 64])
def test_an_invalid_file_digest_is_refused(bundle, digest):
    rewrite(bundle, lambda tree: tree["files"]["model.onnx"].update(sha256=digest))
    refused_both(bundle, ManifestInvalid, "sha256")


def test_a_negative_size_is_refused(bundle):
    rewrite(bundle, lambda tree: tree["files"]["model.onnx"].update(size=-1))
    refused_both(bundle, ManifestInvalid, "size")


@pytest.mark.parametrize(
    ("name", "limit"),
    [("samples.npz", 64 * 2**20), ("requirements.txt", 4 * 2**20), ("model.onnx", 2**33 - 1)],
)
def test_a_declared_size_above_the_limit_is_refused(bundle, name, limit):
    rewrite(bundle, lambda tree: tree["files"][name].update(size=limit + 1))
    refused_both(bundle, TooLarge, name, str(limit))


def test_a_manifest_above_its_limit_is_refused_unread(bundle):
    with (bundle / "bundle.json").open("r+b") as file:
        file.truncate(8 * 2**20 + 1)
    refused_both(bundle, TooLarge, "bundle.json")


def test_a_bundle_of_another_digest_than_expected_is_refused(bundle):
    with pytest.raises(DigestMismatch, match=r"bundle\.json"):
        Bundle.open(bundle, digest="sha256:" + "0" * 64)
