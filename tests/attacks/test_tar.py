"""Hostile tars: section 5 of FORMAT.md. Nothing may be written outside, and nothing may remain."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from lading.bundle import Bundle, unpack_tar
from lading.errors import (
    ArchiveInvalid,
    DigestMismatch,
    DuplicateEntry,
    FileMissing,
    FileUnexpected,
    LinkRefused,
    PathUnsafe,
    SizeMismatch,
    SpecialFileRefused,
    TooLarge,
)
from support.forged_bundles import header, member, members, refused_tar, tar

ROOT = "lading/bundles/iris"
HEAD = 4  # three directories and bundle.json


@pytest.fixture
def parts(bundle):
    return members(bundle)


@pytest.fixture
def refused(tmp_path):
    folder = tmp_path / "place"
    folder.mkdir()
    (folder / "bystander").write_bytes(b"untouched")
    return lambda source, kind, *words: refused_tar(source, folder, kind, *words)


def test_an_undamaged_tar_has_the_bytes_that_lading_writes(bundle, parts, tmp_path):
    out = io.BytesIO()
    Bundle.open(bundle).write_tar(out)
    assert tar(parts).getvalue() == out.getvalue()
    unpack_tar(tar(parts), tmp_path / "unpacked")


@pytest.mark.parametrize(
    "name",
    [
        "../escaped",
        "lading/bundles/iris/../../../escaped",
        f"{ROOT}/..",
        "/etc/escaped",
        "//escaped",
        f"{ROOT}//escaped",
        f"{ROOT}/..\\escaped",
        "\\\\host\\escaped",
    ],
)
@pytest.mark.parametrize("at", [0, HEAD, -1])
def test_a_path_outside_the_bundle_is_refused(parts, refused, name, at):
    parts.insert(at if at >= 0 else len(parts), member(name, b"x"))
    refused(tar(parts), PathUnsafe)


@pytest.mark.parametrize("kind", [b"1", b"2"])
@pytest.mark.parametrize("target", [b"/etc/passwd", b"../../../../etc/passwd", b"bundle.json", b""])
def test_a_link_is_refused(parts, refused, kind, target):
    refused(tar([*parts, header(f"{ROOT}/link", 0, kind, link=target)]), LinkRefused)


def test_a_directory_that_is_a_link_is_refused(parts, refused, tmp_path):
    parts[2] = header(ROOT, 0, b"2", link=str(tmp_path).encode())
    refused(tar(parts), LinkRefused)


@pytest.mark.parametrize(
    ("kind", "word"), [(b"3", "character device"), (b"4", "block device"), (b"6", "FIFO")]
)
def test_a_special_file_is_refused(parts, refused, kind, word):
    refused(tar([*parts, header(f"{ROOT}/special", 0, kind)]), SpecialFileRefused, word)


@pytest.mark.parametrize("at", range(3))
def test_a_duplicate_directory_is_refused(parts, refused, at):
    refused(tar([*parts, parts[at]]), DuplicateEntry)


@pytest.mark.parametrize("at", range(3, 7))
def test_a_duplicate_file_is_refused(parts, refused, at):
    refused(tar([*parts, parts[at]]), DuplicateEntry, "twice")


@pytest.mark.parametrize("at", range(3, 7))
def test_a_missing_member_is_refused(parts, refused, at):
    del parts[at]
    refused(tar(parts), FileMissing)


@pytest.mark.parametrize("at", range(3))
def test_a_missing_directory_is_refused(parts, refused, at):
    del parts[at]
    refused(tar(parts), ArchiveInvalid, "directory")


def test_the_manifest_must_come_before_what_it_describes(parts, refused):
    parts[3], parts[4] = parts[4], parts[3]
    refused(tar(parts), FileMissing, "first file")


def test_files_out_of_order_are_refused(parts, refused):
    parts[4], parts[5] = parts[5], parts[4]
    refused(tar(parts), ArchiveInvalid, "sorted")


@pytest.mark.parametrize(
    "name", [f"{ROOT}/more", f"{ROOT}/more/file", "lading/more", "more", "lading/bundles/iris2/model.onnx"]
)
@pytest.mark.parametrize("kind", [b"0", b"5"])
def test_a_member_that_the_manifest_does_not_name_is_refused(parts, refused, name, kind):
    name = f"{name}/" if kind == b"5" else name
    refused(tar([*parts, member(name, kind=kind)]), FileUnexpected)


def test_a_directory_in_place_of_a_file_is_refused(parts, refused):
    parts[4] = member(f"{ROOT}/model.onnx", kind=b"5")
    refused(tar(parts), FileUnexpected)


@pytest.mark.parametrize("change", [-1, 1, 2**30])
def test_another_size_than_the_manifest_states_is_refused_unread(bundle, parts, refused, change):
    size = (bundle / "model.onnx").stat().st_size + change
    parts[4] = header(f"{ROOT}/model.onnx", size)
    refused(tar(parts[:5]), SizeMismatch, "model.onnx")


def test_bytes_of_another_digest_than_the_manifest_states_are_refused(bundle, parts, refused):
    data = bytearray((bundle / "model.onnx").read_bytes())
    data[100] ^= 1
    parts[4] = member(f"{ROOT}/model.onnx", bytes(data))
    refused(tar(parts), DigestMismatch, "model.onnx")


def test_a_manifest_above_its_limit_is_refused_unread(parts, refused):
    refused(tar([*parts[:3], header(f"{ROOT}/bundle.json", 8 * 2**20 + 1)]), TooLarge, "bundle.json")


def test_a_manifest_of_another_digest_than_expected_is_refused_first(parts, tmp_path):
    with pytest.raises(DigestMismatch, match=r"bundle\.json"):
        unpack_tar(tar(parts[:4]), tmp_path / "place" / "x", digest="sha256:" + "0" * 64)
    assert not list((tmp_path / "place").iterdir())


def test_a_directory_named_unlike_the_manifest_is_refused(bundle, refused):
    refused(tar(members(bundle, "other")), ArchiveInvalid, "iris")


@pytest.mark.parametrize("at", range(7))
@pytest.mark.parametrize(
    "fields",
    [{"mode": b"0004755\0"}, {"mode": b"0000777\0"}, {"time": b"00000000001\0"}, {"magic": b"ustar  \0"}],
    ids=str,
)
def test_a_header_that_is_not_canonical_is_refused(parts, refused, at, fields):
    name = parts[at][:100].rstrip(b"\0").decode()
    size = int(parts[at][124:135], 8)
    parts[at] = header(name, size, parts[at][156:157], **fields) + parts[at][512:]
    refused(tar(parts), ArchiveInvalid)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K", b"S", b"7", b"A", b"M", b"V", b"\0"])
def test_an_extended_header_is_refused(parts, refused, kind):
    record = member("././@PaxHeader", b"30 path=../../../../escaped\n\n\n", kind)
    refused(tar([*parts[:4], record, *parts[4:]]), ArchiveInvalid)


@pytest.mark.parametrize(
    "size", [b"-0000000001\0", b"\x80" + b"\0" * 10 + b"\1", b"zzzzzzzzzzz\0", b" " * 12]
)
def test_a_size_that_is_no_octal_number_is_refused(parts, refused, size):
    block = bytearray(parts[4][:512])
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    refused(tar([*parts[:4], bytes(block)]), ArchiveInvalid)


def test_a_wrong_checksum_is_refused(parts, refused):
    parts[4] = parts[4][:148] + b"000000\0 " + parts[4][156:]
    refused(tar(parts), ArchiveInvalid)


def test_every_truncated_tar_is_refused(parts, refused):
    whole = tar(parts).getvalue()
    for end in [0, 1, *range(100, len(whole), 500), len(whole) - 512, len(whole) - 1]:
        refused(io.BytesIO(whole[:end]), ArchiveInvalid)


@pytest.mark.parametrize("more", [b"\0", b"\0" * 512, b"\0" * 8192, b"x", b"PK\x03\x04"])
def test_anything_after_the_end_is_refused(parts, refused, more):
    refused(io.BytesIO(tar(parts).getvalue() + more), ArchiveInvalid, "after")


def test_padding_with_content_is_refused(parts, refused):
    parts[4] = parts[4][:-1] + b"x"
    refused(tar(parts), ArchiveInvalid, "padding")


@pytest.mark.parametrize("data", [b"", b"\0" * 1024, b"not a tar" * 100, b"PK\x03\x04" * 200])
def test_bytes_that_are_no_tar_are_refused(refused, data):
    refused(io.BytesIO(data), ArchiveInvalid)


def test_a_compressed_tar_is_refused_and_the_hint_says_so(parts, refused):
    # Incompressible first bytes, so that a whole block can be read.
    packed = gzip.compress(tar(parts).getvalue(), compresslevel=0)
    refused(io.BytesIO(packed), ArchiveInvalid, "uncompressed")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_tar_of_another_program_is_refused(bundle, refused, form):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        archive.add(bundle, arcname=ROOT)
    out.seek(0)
    refused(out, ArchiveInvalid)


def test_an_existing_destination_is_not_touched(parts, tmp_path):
    from lading.errors import DestinationExists

    for name in ("file", "folder", "link"):
        place = tmp_path / name
        {
            "file": lambda at: at.write_bytes(b"mine"),
            "folder": lambda at: at.mkdir(),
            "link": lambda at: at.symlink_to("nowhere"),
        }[name](place)
        with pytest.raises(DestinationExists, match=name):
            unpack_tar(tar(parts), place)
    assert (tmp_path / "file").read_bytes() == b"mine"
