"""Writing and reading good bundles; hostile ones are in tests/attacks."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.bundle import (
    FORMAT,
    MAX_ROWS,
    Bundle,
    Samples,
    canonical_json,
    unpack_tar,
    write_bundle,
)
from lading.bundle.manifest import Training, read_manifest
from lading.bundle.samples import decode_samples, encode_samples
from lading.errors import (
    DestinationExists,
    DigestMismatch,
    ExternalDataEscapes,
    InvalidName,
    LadingError,
    ManifestInvalid,
    ModelInvalid,
    RequirementsInvalid,
    SamplesInvalid,
    TooLarge,
)
from lading.signature import DTYPES, Signature, Tensor
from support.bundles import REQUIREMENTS, linear_bundle, linear_draft, linear_model, linear_samples

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def bundle(tmp_path):
    return linear_bundle(tmp_path / "iris.bundle")


def tar_of(bundle):
    out = io.BytesIO()
    info = bundle.write_tar(out)
    return info, out.getvalue()


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_a_bundle_opens_as_it_was_written(bundle):
    opened = Bundle.open(bundle.path)
    assert opened == bundle
    assert opened.manifest.format == FORMAT
    assert opened.model_path.read_bytes() == linear_model()
    assert (opened.path / "requirements.txt").read_text() == REQUIREMENTS


def test_the_digest_is_the_sha256_of_the_manifest(bundle):
    data = (bundle.path / "bundle.json").read_bytes()
    assert bundle.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert Bundle.open(str(bundle.path), digest=bundle.digest) == bundle


def test_the_seal_is_the_sha256_of_the_manifest_without_it(bundle):
    tree = json.loads((bundle.path / "bundle.json").read_bytes())
    seal = tree.pop("seal")
    assert seal == hashlib.sha256(canonical_json(tree)).hexdigest()


def test_golden_samples_come_back_as_they_were(bundle):
    given, back = linear_samples(linear_model()), bundle.samples()
    assert back.rows == given.rows == 16
    for side in ("inputs", "outputs"):
        before, after = getattr(given, side), getattr(back, side)
        assert list(after) == [tensor.name for tensor in getattr(bundle.manifest.signature, side)]
        for name in before:
            assert after[name].dtype == before[name].dtype
            assert after[name].tobytes() == before[name].tobytes()


def test_the_same_inputs_give_the_same_digest(tmp_path, bundle):
    assert linear_bundle(tmp_path / "again").digest == bundle.digest
    assert linear_bundle(tmp_path / "other", seed=1).digest != bundle.digest
    assert linear_bundle(tmp_path / "named", "other").digest != bundle.digest


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_another_process_and_hash_seed_give_the_same_bytes(tmp_path, bundle, seed):
    script = (
        "import sys, hashlib, io\nfrom support import bundles\n"
        "bundle = bundles.linear_bundle(sys.argv[1])\n"
        "out = io.BytesIO()\n"
        "print(bundle.digest, bundle.write_tar(out).digest)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "again")],
        env={
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "TZ": "Asia/Seoul",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [bundle.digest, tar_of(bundle)[0].digest]


def test_order_of_keys_lines_and_arrays_does_not_matter(tmp_path, bundle):
    samples = linear_samples(linear_model())
    turned = Samples(samples.inputs, dict(reversed(samples.outputs.items())), samples.rows)
    draft = linear_draft()
    labels = dict(reversed(draft.labels.items()))
    again = write_bundle(
        tmp_path / "again",
        msgspec.structs.replace(draft, labels=labels),
        model=linear_model(),
        samples=turned,
        requirements="\n\nonnxruntime==1.20.0\nnumpy==2.0.0\nnumpy==2.0.0\n",
    )
    assert again.digest == bundle.digest


def test_the_model_may_come_from_a_file(tmp_path, bundle):
    (tmp_path / "m.onnx").write_bytes(linear_model())
    samples = linear_samples(linear_model())
    again = write_bundle(
        tmp_path / "again",
        linear_draft(),
        model=tmp_path / "m.onnx",
        samples=samples,
        requirements=REQUIREMENTS,
    )
    assert again.digest == bundle.digest


def test_the_bytes_of_the_samples_do_not_depend_on_numpy(bundle):
    """Their layout is written down in FORMAT.md; a change here is a change of the format."""
    signature = Signature(
        inputs=(Tensor(name="n", dtype="int16", shape=("batch",)),),
        outputs=(Tensor(name="t", dtype="string", shape=("batch", 1)),),
    )
    samples = Samples({"n": np.array([1, -2], "i2")}, {"t": np.array([["a"], ["\u00fc"]], object)}, 2)
    data = encode_samples(signature, samples)
    assert (
        hashlib.sha256(data).hexdigest() == "90d43acf319d6a9242fa29054de2bc171a4ea9a897a7d8f2e3f528e1e691735a"
    )
    with np.load(io.BytesIO(data)) as file:
        assert file["input_0"].tolist() == [1, -2]
        assert file["output_0"].tolist() == [["a"], ["\u00fc"]]


def test_files_are_readable_by_all_and_nothing_is_leftstaging_directory(bundle, tmp_path):
    assert bundle.path.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in bundle.path.iterdir()} == {0o644}
    assert leftovers(tmp_path) == []


def test_a_missing_parent_is_made(tmp_path):
    assert linear_bundle(tmp_path / "a" / "b").path.is_dir()


@pytest.mark.parametrize("there", ["file", "folder", "full", "link"])
def test_a_place_that_is_taken_is_not_touched(tmp_path, there):
    place = tmp_path / "place"
    if there == "file":
        place.write_bytes(b"mine")
    elif there == "link":
        place.symlink_to(tmp_path / "nowhere")
    else:
        place.mkdir()
        if there == "full":
            (place / "mine").write_bytes(b"mine")
    with pytest.raises(DestinationExists, match="place"):
        linear_bundle(place)
    assert leftovers(tmp_path) == []
    assert os.path.lexists(place)


def test_a_place_that_is_taken_meanwhile_is_not_touched(tmp_path):
    from lading.bundle.writer import staging_directory

    place = tmp_path / "place"

    def late():
        with staging_directory(place) as folder:
            (folder / "mine").write_bytes(b"mine")
            place.mkdir()
            (place / "theirs").write_bytes(b"theirs")

    with pytest.raises(DestinationExists, match="place"):
        late()
    assert [path.name for path in place.iterdir()] == ["theirs"]
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"name": "Iris"}, InvalidName),
        ({"owner": ""}, ManifestInvalid),
        ({"owner": None}, ManifestInvalid),
        ({"metrics": {"accuracy": float("nan")}}, ManifestInvalid),
        ({"metrics": {"accuracy": "high"}}, ManifestInvalid),
        ({"purpose": "two\nlines"}, ManifestInvalid),
        ({"description": "\ud800"}, ManifestInvalid),
        ({"training": Training("3.11", "linux", "x", {"numpy": 2})}, ManifestInvalid),
    ],
)
def test_a_draft_that_breaks_a_rule_is_never_written(tmp_path, changes, kind):
    with pytest.raises(kind):
        linear_bundle(tmp_path / "iris", **changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argument", "value", "kind"),
    [
        ("model", b"not a model", ModelInvalid),
        ("model", b"", ModelInvalid),
        ("requirements", "numpy\n", RequirementsInvalid),
        ("requirements", "a @ http://x\n", RequirementsInvalid),
        ("samples", Samples({}, {}, 0), SamplesInvalid),
    ],
)
def test_a_part_that_breaks_a_rule_is_never_written(tmp_path, argument, value, kind):
    parts = {
        "model": linear_model(),
        "samples": linear_samples(linear_model()),
        "requirements": REQUIREMENTS,
        argument: value,
    }
    with pytest.raises(kind):
        write_bundle(tmp_path / "iris", linear_draft(), **parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda given: Samples({"X": given.inputs["X"].astype("f8")}, given.outputs, 16),
        lambda given: Samples({"X": given.inputs["X"][:, :3]}, given.outputs, 16),
        lambda given: Samples({"X": given.inputs["X"] * np.float32("nan")}, given.outputs, 16),
        lambda given: Samples({**given.inputs, "Y": given.inputs["X"]}, given.outputs, 16),
        lambda given: Samples(given.inputs, {"label": given.outputs["label"]}, 16),
        lambda given: Samples(given.inputs, given.outputs, 15),
        lambda given: Samples({"X": given.inputs["X"][:3]}, given.outputs, 16),
    ],
)
def test_samples_that_do_not_fit_are_never_written(tmp_path, change):
    samples = change(linear_samples(linear_model()))
    with pytest.raises(SamplesInvalid):
        write_bundle(
            tmp_path / "iris",
            linear_draft(),
            model=linear_model(),
            samples=samples,
            requirements=REQUIREMENTS,
        )
    assert list(tmp_path.iterdir()) == []


def test_too_many_or_too_large_samples_are_refused(tmp_path):
    with pytest.raises(SamplesInvalid, match="257"):
        linear_bundle(tmp_path / "iris", rows=MAX_ROWS + 1)
    signature = Signature(
        inputs=(Tensor(name="t", dtype="string", shape=("batch",)),),
        outputs=(Tensor(name="y", dtype="bool", shape=("batch",)),),
    )
    # One long text makes all 256 as long: `<U` has one width.
    texts = np.array(["x" * 2_000_000, *["x"] * 255], object)
    with pytest.raises(TooLarge, match=r"samples\.npz"):
        encode_samples(signature, Samples({"t": texts}, {"y": np.zeros(256, bool)}, 256))


def test_an_output_may_be_nan_and_an_input_where_it_is_allowed():
    signature = Signature(
        inputs=(Tensor(name="x", dtype="float32", shape=("batch",), allows_nan=True),),
        outputs=(Tensor(name="y", dtype="float64", shape=("batch",)),),
    )
    samples = Samples({"x": np.array([np.nan], "f4")}, {"y": np.array([np.nan])}, 1)
    back = decode_samples(signature, encode_samples(signature, samples))
    assert np.isnan(back.inputs["x"]).all()
    assert np.isnan(back.outputs["y"]).all()


def test_a_model_without_a_batch_dimension_has_one_golden_sample():
    signature = Signature(
        inputs=(Tensor(name="x", dtype="float32", shape=(1, 3)), Tensor(name="s", dtype="int64", shape=())),
        outputs=(Tensor(name="y", dtype="float32", shape=("n",)),),
    )
    given = Samples({"x": np.ones((1, 3), "f4"), "s": np.array(7)}, {"y": np.zeros(5, "f4")}, 1)
    back = decode_samples(signature, encode_samples(signature, given))
    assert back.rows == 1
    assert back.inputs["s"].shape == ()
    assert back.outputs["y"].shape == (5,)


VALUES = {
    "string": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9),
    "bool": st.booleans(),
}


@given(st.data())
def test_any_array_of_any_dtype_survives(data):
    arrays, tensors = {}, []
    rows = data.draw(st.integers(1, 4))
    for dtype in data.draw(st.lists(st.sampled_from(DTYPES), min_size=1, max_size=3, unique=True)):
        width = data.draw(st.sampled_from([None, 1, 3]))
        count = rows * (width or 1)
        if dtype in VALUES:
            flat = data.draw(st.lists(VALUES[dtype], min_size=count, max_size=count))
            array = np.array(flat, object if dtype == "string" else bool)
        else:
            size = np.dtype(dtype).itemsize * count
            array = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), dtype)
        arrays[dtype] = array.reshape((rows, width) if width else (rows,))
        shape = ("batch", width) if width else ("batch",)
        floats = dtype.startswith("float")
        tensors.append(Tensor(name=dtype, dtype=dtype, shape=shape, allows_nan=floats))
    signature = Signature(inputs=tuple(tensors), outputs=tuple(tensors))
    back = decode_samples(signature, encode_samples(signature, Samples(arrays, arrays, rows)))
    for name, array in arrays.items():
        for after in (back.inputs[name], back.outputs[name]):
            assert after.dtype == array.dtype
            assert after.shape == array.shape
            assert after.tolist() == array.tolist() if name in VALUES else after.tobytes() == array.tobytes()


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_canonical_json_is_json_with_one_form(value):
    data = canonical_json(value)
    assert json.loads(data) == value
    assert canonical_json(json.loads(data)) == data


@given(st.binary(max_size=200))
def test_no_bytes_break_the_manifest_reader(data):
    with pytest.raises(LadingError):
        read_manifest(data)


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=8))
def test_no_spoiled_manifest_breaks_the_reader(at, spoil):
    from lading.bundle.manifest import FileEntry, seal_manifest

    files = {name: FileEntry("0" * 64, 1) for name in ("model.onnx", "samples.npz", "requirements.txt")}
    data = canonical_json(seal_manifest(linear_draft(), files))
    at %= len(data)
    spoiled = data[:at] + spoil + data[at + len(spoil) :]
    if spoiled == data:
        return
    with pytest.raises(LadingError):
        read_manifest(spoiled)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_tar_or_model_reader(data):
    from lading.bundle.external import external_data

    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(LadingError):
            unpack_tar(io.BytesIO(data), Path(folder) / "x")
        assert list(Path(folder).iterdir()) == []
    with contextlib.suppress(ModelInvalid):
        external_data(data)


def test_a_bundle_survives_its_tar(bundle, tmp_path):
    info, data = tar_of(bundle)
    assert info.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert info.size == len(data)
    again = unpack_tar(io.BytesIO(data), tmp_path / "again", digest=bundle.digest)
    assert again.digest == bundle.digest
    assert again.path == tmp_path / "again"
    assert tar_of(again)[1] == data
    assert leftovers(tmp_path) == []


def test_the_tar_is_plain_ustar_in_sorted_order(bundle):
    _, data = tar_of(bundle)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = archive.getmembers()
    root = "lading/bundles/iris"
    files = ["bundle.json", "model.onnx", "requirements.txt", "samples.npz"]
    assert [one.name for one in found] == [
        "lading",
        "lading/bundles",
        root,
        *(f"{root}/{name}" for name in files),
    ]
    assert {(one.mtime, one.uid, one.gid, one.uname, one.gname) for one in found} == {(0, 0, 0, "", "")}
    assert [one.mode for one in found] == [0o755] * 3 + [0o644] * 4
    assert all(not one.pax_headers for one in found)
    assert data[257:265] == b"ustar\x0000"


def test_the_longest_names_fit_into_the_tar(tmp_path):
    from onnx import TensorProto, external_data_helper, load_model_from_string, numpy_helper

    name = "w" * 100
    model = load_model_from_string(linear_model())
    weights = model.graph.initializer[0]
    raw = numpy_helper.to_array(weights).tobytes()
    external_data_helper.set_external_data(weights, name, 0, len(raw))
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    (tmp_path / "weights").write_bytes(raw)
    parts = {"samples": linear_samples(linear_model()), "requirements": REQUIREMENTS}
    draft, data = linear_draft("i" * 63), model.SerializeToString()
    made = write_bundle(tmp_path / "x", draft, model=data, external={name: tmp_path / "weights"}, **parts)
    out = io.BytesIO()
    made.write_tar(out)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        assert f"lading/bundles/{'i' * 63}/{name}" in archive.getnames()
    out.seek(0)
    assert unpack_tar(out, tmp_path / "y").digest == made.digest
    with pytest.raises(ExternalDataEscapes, match=name):
        write_bundle(tmp_path / "z", draft, model=data, **parts)


def test_a_tar_is_read_from_a_stream_that_gives_little_at_a_time(bundle, tmp_path):
    class Dripping(io.RawIOBase):
        def __init__(self, data):
            self.source = io.BytesIO(data)

        def readable(self):
            return True

        def readinto(self, buffer):
            piece = self.source.read(min(len(buffer), 7))
            buffer[: len(piece)] = piece
            return len(piece)

    _, data = tar_of(bundle)
    assert unpack_tar(Dripping(data), tmp_path / "again").digest == bundle.digest


def test_a_file_changed_after_opening_does_not_go_into_a_tar(bundle):
    for name in ("model.onnx", "bundle.json"):
        data = (bundle.path / name).read_bytes()
        (bundle.path / name).write_bytes(data[:-1] + b"!")
        with pytest.raises(DigestMismatch, match=name):
            bundle.write_tar(io.BytesIO())
        (bundle.path / name).write_bytes(data)


def test_a_failing_source_leaves_nothing(bundle, tmp_path):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 4096:
                raise OSError("the network went away")
            return super().read(size)

    _, data = tar_of(bundle)
    with pytest.raises(OSError, match="went away"):
        unpack_tar(Broken(data), tmp_path / "again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["iris.bundle"]


def test_reading_imports_no_library_that_could_run_a_model(bundle):
    script = (
        "import sys\nfrom lading.bundle import Bundle\nBundle.open(sys.argv[1]).samples()\n"
        "print([name for name in ('onnx', 'onnxruntime', 'pickle5', 'sklearn') if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(bundle.path)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_the_bytes_of_a_bundle_never_change(tmp_path):
    """Somebody holds these digests: they must come out on every machine and in every version."""
    samples = Samples(
        {"X": np.array([[5.1, 3.5, 1.4, 0.2]], "f4")},
        {"label": np.array([0]), "probabilities": np.array([[0.97, 0.02, 0.01]], "f4")},
        1,
    )
    model = DATA / "iris_svc.onnx"
    bundle = write_bundle(
        tmp_path / "iris", linear_draft(), model=model, samples=samples, requirements=REQUIREMENTS
    )
    assert bundle.digest == "sha256:e6fdb16422482722d519a3e345eb51f35ce3b3562b4236691b552f86d6883f38"
    assert (
        tar_of(bundle)[0].digest == "sha256:c2c8a86de1d99ad6bde38dd86d22617e0267640233aa02938d863eed76d561f5"
    )
