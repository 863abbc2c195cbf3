"""Hostile ``samples.npz``: section 4 of FORMAT.md, in both forms of a bundle."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest

from lading.bundle import Bundle
from lading.errors import DuplicateEntry, SamplesInvalid
from support.forged_bundles import put, refused_both, rewrite


class Bomb:
    """Unpickling it would leave a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def golden(bundle):
    with np.load(bundle / "samples.npz") as file:
        return dict(file)


def savez(bundle, arrays, save=np.savez):
    out = io.BytesIO()
    save(out, **arrays)
    return put(bundle, "samples.npz", out.getvalue())


def zipped(entries, **options):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return out.getvalue()


def npy(array, **options):
    out = io.BytesIO()
    np.lib.format.write_array(out, array, **options)
    return out.getvalue()


def entries(bundle):
    return [(f"{name}.npy", npy(array)) for name, array in golden(bundle).items()]


def test_samples_written_by_numpy_are_accepted(bundle):
    before = Bundle.open(bundle).samples()
    after = Bundle.open(savez(bundle, golden(bundle))).samples()
    assert all((before.inputs[name] == after.inputs[name]).all() for name in before.inputs)


def test_fortran_order_keeps_every_value_in_its_place(bundle):
    arrays = {name: np.asfortranarray(array) for name, array in golden(bundle).items()}
    opened = Bundle.open(savez(bundle, arrays)).samples()
    assert (opened.inputs["X"] == arrays["input_0"]).all()
    assert opened.inputs["X"].flags.c_contiguous


def test_pickled_arrays_are_refused_and_never_unpickled(bundle, tmp_path):
    array = np.array([Bomb(tmp_path / "exploded")], dtype=object)
    damaged = [
        (name, npy(array, allow_pickle=True) if "input" in name else data) for name, data in entries(bundle)
    ]
    refused_both(put(bundle, "samples.npz", zipped(damaged)), SamplesInvalid, "pickled")
    bare = [("input_0.npy", pickle.dumps(Bomb(tmp_path / "exploded")))]
    refused_both(put(bundle, "samples.npz", zipped(bare)), SamplesInvalid)
    assert not (tmp_path / "exploded").exists()


def test_a_bare_pickle_is_refused(bundle, tmp_path):
    data = pickle.dumps(Bomb(tmp_path / "exploded"))
    refused_both(put(bundle, "samples.npz", data), SamplesInvalid)
    assert not (tmp_path / "exploded").exists()


def test_compressed_entries_are_refused(bundle):
    refused_both(savez(bundle, golden(bundle), np.savez_compressed), SamplesInvalid, "stored")


@pytest.mark.slow
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_bomb_is_refused_uninflated(bundle, method):
    bomb = zipped([("input_0.npy", b"\0" * 50_000_000)], compression=method)
    refused_both(put(bundle, "samples.npz", bomb), SamplesInvalid, "stored")


def test_an_entry_with_a_wrong_compression_method_is_refused(bundle):
    data = bytearray(zipped([("input_0.npy", b"\0" * 1_000_000)], compression=zipfile.ZIP_DEFLATED))
    where = data.rindex(b"PK\x01\x02")
    data[where + 10 : where + 12] = b"\0\0"
    refused_both(put(bundle, "samples.npz", bytes(data)), SamplesInvalid)


def test_overlapping_entries_are_refused(bundle):
    data = zipped(entries(bundle))
    start = data.index(b"PK\x01\x02")
    end = data.rindex(b"PK\x05\x06")
    directory, count = data[start:end], len(golden(bundle))
    more = directory.replace(b"input_0.npy", b"input_9.npy").replace(b"output_", b"outpot_")
    tail = struct.pack("<4HIIH", 0, 0, count * 2, count * 2, len(directory) * 2, start, 0)
    forged = data[:start] + directory + more + b"PK\x05\x06" + tail
    refused_both(put(bundle, "samples.npz", forged), SamplesInvalid)


@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile warns the forger, who knows
@pytest.mark.parametrize("name", ["input_0.npy", "output_1.npy"])
def test_a_duplicate_entry_is_refused(bundle, name):
    kept = entries(bundle)
    data = zipped([*kept, (name, dict(kept)[name])])
    refused_both(put(bundle, "samples.npz", data), DuplicateEntry, f"`{name}` twice")


@pytest.mark.parametrize("name", ["input_1.npy", "X.npy", "../../escaped.npy", "/escaped", "\x1b[31m"])
def test_an_entry_that_the_signature_does_not_have_is_refused(bundle, name):
    data = zipped([*entries(bundle), (name, npy(np.zeros(1)))])
    refused_both(put(bundle, "samples.npz", data), SamplesInvalid)


@pytest.mark.parametrize("name", ["input_0", "output_0", "output_1"])
def test_a_missing_entry_is_refused(bundle, name):
    arrays = golden(bundle)
    del arrays[name]
    refused_both(savez(bundle, arrays), SamplesInvalid, f"`{name}.npy`")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("input_0", lambda x: x.astype("f8")),
        ("input_0", lambda x: x.astype(">f4")),
        ("input_0", lambda x: x.astype("c8")),
        ("input_0", lambda x: x.astype("S4")),
        ("input_0", lambda x: x.astype("U4")),
        ("input_0", lambda x: x.astype([("a", "f4")])),
        ("input_0", lambda x: x.astype("M8[s]")),
        ("output_0", lambda x: x.astype("i4")),
        ("output_0", lambda x: x.astype("u8")),
        ("output_0", lambda x: x.astype("m8[s]")),
        ("input_0", lambda x: x[:, :3]),
        ("input_0", lambda x: x.reshape(-1)),
        ("input_0", lambda x: x[:0]),
        ("input_0", lambda x: x[:5]),
        ("output_0", lambda x: x.reshape(-1, 1)),
        ("output_0", lambda x: x[:5]),
        ("output_1", lambda x: x[:, :2]),
        ("input_0", lambda x: x[0, 0]),
        ("input_0", lambda x: np.where(x == x.max(), np.float32("nan"), x)),
    ],
)
def test_samples_that_do_not_fit_the_signature_are_refused(bundle, name, change):
    arrays = golden(bundle)
    arrays[name] = change(arrays[name])
    refused_both(savez(bundle, arrays), SamplesInvalid)


@pytest.mark.parametrize("rows", [0, 257])
def test_no_rows_and_too_many_rows_are_refused(bundle, rows):
    arrays = {name: np.resize(array, (rows, *array.shape[1:])) for name, array in golden(bundle).items()}
    refused_both(savez(bundle, arrays), SamplesInvalid)


def test_256_rows_are_accepted(bundle):
    arrays = {name: np.resize(array, (256, *array.shape[1:])) for name, array in golden(bundle).items()}
    assert Bundle.open(savez(bundle, arrays)).samples().rows == 256


def header(text, version=(1, 0)):
    body = text.encode("latin-1")
    size = struct.pack("<H" if version[0] == 1 else "<I", len(body))
    return b"\x93NUMPY" + bytes(version) + size + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPX\x01\x00",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (16, 4)}\n"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000, 4)}\n") + b"\0" * 256,
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}\n"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-16, -4)}\n") + b"\0" * 256,
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 4)}\n") + b"\0" * 16,
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (16.0, 4)}\n") + b"\0" * 256,
        header("{'descr': '|O', 'fortran_order': False, 'shape': (16, 4)}\n") + b"\0" * 512,
        header("{'descr': '|V0', 'fortran_order': False, 'shape': (16, 4)}\n"),
        header("{'descr': __import__('os').abort(), 'fortran_order': False, 'shape': (16, 4)}\n"),
        header("{'descr': '<f4', 'fortran_order': False}\n"),
        header("(" * 9000 + "\n"),
        header("[" * 5000 + "]" * 4000 + "\n"),
        header("-" * 9000 + "1\n"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (16, 4)}\n", (2, 0)),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (16, 4)}\n", (9, 9)),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (16, 4)}\n") + b"\0" * 257,
    ],
    ids=range(19),
)
def test_an_array_header_with_wrong_claims_is_refused(bundle, data):
    damaged = [(name, data if name == "input_0.npy" else kept) for name, kept in entries(bundle)]
    refused_both(put(bundle, "samples.npz", zipped(damaged)), SamplesInvalid)


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x05\x06" + b"\0" * 18, b"\0" * 100, b"PK\x03\x04" * 50])
def test_bytes_that_are_no_zip_are_refused(bundle, data):
    refused_both(put(bundle, "samples.npz", data), SamplesInvalid)


def test_a_wrong_checksum_inside_the_zip_is_refused(bundle):
    data = bytearray((bundle / "samples.npz").read_bytes())
    data[300] ^= 1
    refused_both(put(bundle, "samples.npz", bytes(data)), SamplesInvalid)


def test_an_encrypted_entry_is_refused(bundle):
    data = bytearray((bundle / "samples.npz").read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    refused_both(put(bundle, "samples.npz", bytes(data)), SamplesInvalid)


def test_every_truncated_zip_is_refused(bundle):
    data = (bundle / "samples.npz").read_bytes()
    for end in range(0, len(data), 111):
        refused_both(put(bundle, "samples.npz", data[:end]), SamplesInvalid)


@pytest.fixture
def texts(bundle):
    """Turn the input of the bundle into text (the model is not run here); return matching arrays."""
    rewrite(bundle, lambda tree: tree["signature"]["inputs"][0].update(dtype="string"))
    return {**golden(bundle), "input_0": np.full((16, 4), "abc")}


def test_text_is_accepted(bundle, texts):
    opened = Bundle.open(savez(bundle, texts)).samples().inputs["X"]
    assert opened.dtype == object
    assert set(opened.flat) == {"abc"}


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_onnx_cannot_encode_is_refused(bundle, texts, text):
    texts["input_0"][3, 2] = text
    refused_both(savez(bundle, texts), SamplesInvalid)


def test_text_beyond_unicode_is_refused(bundle, texts):
    data = zipped([(f"{name}.npy", npy(array)) for name, array in texts.items()])
    plain = "abc".encode("utf-32-le")
    at = data.index(plain)
    body = bytearray(data)
    body[at : at + 4] = struct.pack("<I", 0x110000)
    # The checksum of the entry is repaired in both places.
    first = data.index(b"\x93NUMPY")
    length = struct.unpack_from("<I", data, 22)[0]
    crc = struct.pack("<I", zlib.crc32(body[first : first + length]))
    body[14:18] = crc
    where = data.index(b"PK\x01\x02")
    body[where + 16 : where + 20] = crc
    refused_both(put(bundle, "samples.npz", bytes(body)), SamplesInvalid)


def test_bytes_for_text_are_refused(bundle, texts):
    refused_both(savez(bundle, {**texts, "input_0": np.full((16, 4), b"abc")}), SamplesInvalid)
