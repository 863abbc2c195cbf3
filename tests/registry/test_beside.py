"""The attestations beside a bundle's folder: read whole or refused, added once, never inside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lading.bundle import Bundle
from lading.errors import AttachmentTooLarge, AttestationInvalid
from lading.registry.beside import add_beside, beside, one_line, read_beside
from support.bundles import linear_bundle


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "iris.bundle").mkdir()
    return tmp_path / "iris.bundle"


def test_each_is_kept_once_in_the_order_of_adding(folder):
    assert read_beside(folder) == []
    add_beside(folder, ['{"a": 1}', '{"b": 2}', '{"a": 1}'])
    add_beside(folder, ['{"b":\n 2}', '{"c": 3}'])
    assert read_beside(folder) == ['{"a": 1}', '{"b": 2}', '{"b":  2}', '{"c": 3}']
    assert beside(folder) == folder.parent / "iris.bundle.attestations.jsonl"
    assert [path.name for path in folder.parent.iterdir() if path.name.endswith(".tmp")] == []
    assert one_line(' {"a":\n1}\n') == '{"a": 1}'


def test_the_folder_may_be_where_one_is(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert beside(Path()) == beside(folder)
    assert beside(Path("..") / folder.name).resolve() == beside(folder)
    assert beside(Path("..")).parent == folder.parent.parent


def test_a_bundle_stays_as_it_is(tmp_path):
    bundle = linear_bundle(tmp_path / "iris.bundle")
    add_beside(bundle.path, ["{}"])
    assert Bundle.open(bundle.path).digest == bundle.digest


def test_what_is_no_file_of_lines_is_refused(folder):
    path = beside(folder)
    os.mkfifo(path)
    with pytest.raises(AttestationInvalid, match="expected a file, found a folder or a device"):
        read_beside(folder)
    path.unlink()
    path.write_bytes(b"\xff\n")
    with pytest.raises(AttestationInvalid, match="expected attestations in UTF-8"):
        read_beside(folder)
    with path.open("wb") as file:
        file.truncate(80 * 2**20)
    with pytest.raises(AttachmentTooLarge, match="at most 67,108,864 bytes, found more"):
        read_beside(folder)
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(AttestationInvalid, match="expected a file that can be read"):
        read_beside(folder)
