"""The tar form of a bundle: written, and read from a stream."""

from __future__ import annotations

import hashlib
import io
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.bundle import (
    read_archive_files,
    unpack_tar,
    write_bundle,
)
from lading.errors import (
    ArchiveInvalid,
    DigestMismatch,
    ExternalDataEscapes,
    LadingError,
)
from support.bundles import REQUIREMENTS, linear_bundle, linear_draft, linear_model, linear_samples


@pytest.fixture
def bundle(tmp_path):
    return linear_bundle(tmp_path / "iris.bundle")


def tar_of(bundle):
    out = io.BytesIO()
    info = bundle.write_tar(out)
    return info, out.getvalue()


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.slow
@given(st.binary(max_size=300))
def test_any_other_bytes_are_no_tar(data):
    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(LadingError):
            unpack_tar(io.BytesIO(data), Path(folder) / "x")
        assert list(Path(folder).iterdir()) == []


def test_a_bundle_comes_out_of_its_tar_as_it_went_in(bundle, tmp_path):
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
        members = archive.getmembers()
    root = "lading/bundles/iris"
    files = ["bundle.json", "model.onnx", "requirements.txt", "samples.npz"]
    assert [member.name for member in members] == [
        "lading",
        "lading/bundles",
        root,
        *(f"{root}/{name}" for name in files),
    ]
    assert {(member.mtime, member.uid, member.gid, member.uname, member.gname) for member in members} == {
        (0, 0, 0, "", "")
    }
    assert [member.mode for member in members] == [0o755] * 3 + [0o644] * 4
    assert all(not member.pax_headers for member in members)
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


def test_a_tar_is_read_from_a_stream_of_small_chunks(bundle, tmp_path):
    class SmallChunks(io.RawIOBase):
        def __init__(self, data):
            self.source = io.BytesIO(data)

        def readable(self):
            return True

        def readinto(self, buffer):
            chunk = self.source.read(min(len(buffer), 7))
            buffer[: len(chunk)] = chunk
            return len(chunk)

    _, data = tar_of(bundle)
    assert unpack_tar(SmallChunks(data), tmp_path / "again").digest == bundle.digest


def test_a_file_changed_after_opening_is_not_written_into_a_tar(bundle):
    for name in ("model.onnx", "bundle.json"):
        data = (bundle.path / name).read_bytes()
        (bundle.path / name).write_bytes(data[:-1] + b"!")
        with pytest.raises(DigestMismatch, match=name):
            bundle.write_tar(io.BytesIO())
        (bundle.path / name).write_bytes(data)


def test_some_files_are_read_without_the_others(bundle):
    _, data = tar_of(bundle)
    names = ("requirements.txt", "samples.npz")
    # The model between is damaged, and nobody looks at it.
    model = (bundle.path / "model.onnx").read_bytes()
    data = data.replace(model, bytes(len(model)))
    files = read_archive_files(io.BytesIO(data), bundle.manifest, names)
    assert files == {name: (bundle.path / name).read_bytes() for name in names}


def test_a_damaged_file_and_another_bundle_are_refused(bundle, tmp_path):
    _, data = tar_of(bundle)
    samples = (bundle.path / "samples.npz").read_bytes()
    damaged = data.replace(samples, bytes(len(samples)))
    with pytest.raises(DigestMismatch, match=r"samples\.npz"):
        read_archive_files(io.BytesIO(damaged), bundle.manifest, ["samples.npz"])
    other = linear_bundle(tmp_path / "other", "churn", rows=3)
    with pytest.raises(ArchiveInvalid):
        read_archive_files(io.BytesIO(data), other.manifest, ["samples.npz"])
    with pytest.raises(ArchiveInvalid):
        read_archive_files(io.BytesIO(data[:2000]), bundle.manifest, ["samples.npz"])
