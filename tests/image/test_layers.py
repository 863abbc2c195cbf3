"""Layers of files: as others read them, their digests, and the memory that writing them takes."""

from __future__ import annotations

import tarfile
import tracemalloc

import pytest

from lading.image.layers import LayerFile, archive_layer, files_layer


@pytest.mark.slow
def test_a_large_layer_is_written_in_chunks(tmp_path):
    size = 64 << 20
    with (tmp_path / "big").open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        layer = files_layer({"big": LayerFile(tmp_path / "big")}, tmp_path / "layer", compress=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert layer.descriptor.size > size
    assert peak < 8 << 20


def test_a_layer_of_files_is_a_tar_that_the_standard_library_reads(tmp_path):
    long, odd = f"a/{'b' * 90}/{'c' * 90}/{'d' * 99}/e.py", "a/größe.txt"
    files = {long: LayerFile(b"long"), odd: LayerFile(b"odd"), "bin/run": LayerFile(b"#!", 0o755)}
    layer = files_layer(files, tmp_path / "layer", compress=False)
    assert layer.diff_id == layer.descriptor.digest
    with tarfile.open(layer.path) as archive:
        members = {member.name: member for member in archive.getmembers()}
        contents = {name: archive.extractfile(members[name]).read() for name in files}
    assert contents == {name: file.content for name, file in files.items()}
    assert (members["bin/run"].mode, members[odd].mode, members["a"].mode) == (0o755, 0o644, 0o755)
    assert {(member.mtime, member.uid, member.gid) for member in members.values()} == {(0, 0, 0)}


def test_a_symbolic_link_has_its_target_and_no_bytes(tmp_path):
    files = {"bin/python": LayerFile(b"", 0o777, link="/usr/bin/python3.11"), "last": LayerFile(b"1")}
    layer = files_layer(files, tmp_path / "layer", compress=False)
    with tarfile.open(layer.path) as archive:
        link, last = archive.getmember("bin/python"), archive.getmember("last")
    assert (link.issym(), link.linkname, link.size, last.size) == (True, "/usr/bin/python3.11", 0, 1)


def test_a_compressed_layer_also_has_the_digest_of_its_uncompressed_bytes(tmp_path):
    files = {"a": LayerFile(b"a" * 10000)}
    plain = files_layer(files, tmp_path / "plain", compress=False)
    packed = files_layer(files, tmp_path / "packed")
    assert packed.diff_id == plain.diff_id
    assert packed.descriptor.size < plain.descriptor.size
    # A compressed archive is decompressed first, so the layer is the same.
    assert archive_layer(packed.path, tmp_path / "again", compress=False).descriptor == plain.descriptor
