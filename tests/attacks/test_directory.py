"""Hostile directories: section 1 of FORMAT.md. The tar form of each is in test_tar.py."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from lading.bundle import Bundle
from lading.errors import (
    DigestMismatch,
    FileMissing,
    FileUnexpected,
    LinkRefused,
    RequirementsInvalid,
    SizeMismatch,
    SpecialFileRefused,
    TooLarge,
)
from support.forged_bundles import put, refused_both, refused_directory, rewrite

FILES = ["bundle.json", "model.onnx", "requirements.txt", "samples.npz"]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(bundle, name):
    (bundle / name).unlink()
    refused_both(bundle, FileMissing, f"`{name}`")


@pytest.mark.parametrize("path", ["nothing", "iris.bundle/model.onnx", "iris.bundle/model.onnx/x"])
def test_a_path_that_is_no_directory_is_refused(bundle, path):
    refused_directory(bundle.parent / path, FileMissing, "expected a directory")


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "model.onnx.bak", "\x1b[31mred", "ünï"])
def test_a_file_that_the_manifest_does_not_name_is_refused(bundle, name):
    (bundle / name).write_bytes(b"")
    refused_directory(bundle, FileUnexpected)


def test_a_file_name_that_is_no_text_is_refused(bundle):
    os.close(os.open(os.fsencode(bundle) + b"/\xff\xfe", os.O_CREAT | os.O_WRONLY, 0o644))
    refused_directory(bundle, FileUnexpected)


def test_a_directory_inside_is_refused(bundle):
    (bundle / "more").mkdir()
    refused_directory(bundle, FileUnexpected, "`more`", "a directory")


@pytest.mark.parametrize("name", FILES)
def test_a_symbolic_link_is_refused(bundle, name):
    kept = bundle.parent / "kept"
    (bundle / name).rename(kept)
    (bundle / name).symlink_to(kept)
    refused_directory(bundle, LinkRefused, f"`{name}`", "symbolic")


@pytest.mark.parametrize("target", ["/etc/passwd", "../kept", "nowhere", "model.onnx"])
def test_a_further_symbolic_link_is_refused(bundle, target):
    (bundle / "more").symlink_to(target)
    refused_directory(bundle, LinkRefused, "`more`")


@pytest.mark.parametrize("name", FILES)
def test_a_hard_link_is_refused(bundle, name):
    os.link(bundle / name, bundle.parent / "other")
    refused_directory(bundle, LinkRefused, f"`{name}`", "hard")


def test_a_fifo_is_refused_and_does_not_block(bundle):
    (bundle / "model.onnx").unlink()
    os.mkfifo(bundle / "model.onnx")
    refused_directory(bundle, SpecialFileRefused, "`model.onnx`", "FIFO")


def test_a_socket_is_refused(bundle, monkeypatch):
    monkeypatch.chdir(bundle)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("door")
        refused_directory(bundle, SpecialFileRefused, "`door`", "socket")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device; the tar form needs no root")
def test_a_device_is_refused(bundle):
    os.mknod(bundle / "zero", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    refused_directory(bundle, SpecialFileRefused, "`zero`", "device")


def test_a_bundle_may_be_reached_through_a_link(bundle):
    link = bundle.parent / "current"
    link.symlink_to(bundle)
    assert Bundle.open(link).manifest.name == "iris"


@pytest.mark.parametrize("name", FILES[1:])
def test_one_flipped_bit_is_refused_and_the_file_is_named(bundle, name):
    data = bytearray((bundle / name).read_bytes())
    for at in range(0, len(data), 97):
        damaged = bytearray(data)
        damaged[at] ^= 1
        (bundle / name).write_bytes(damaged)
        refused_directory(bundle, DigestMismatch, f"`{name}`")
    refused_both(bundle, DigestMismatch, f"`{name}`")


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize("change", [-1, 1])
def test_another_length_is_refused_and_the_file_is_named(bundle, name, change):
    data = (bundle / name).read_bytes()
    (bundle / name).write_bytes(data[:-1] if change < 0 else data + b"\0")
    refused_both(bundle, SizeMismatch, f"`{name}`", str(len(data)), str(len(data) + change))


@pytest.mark.parametrize(("name", "mib"), [("samples.npz", 64), ("requirements.txt", 4)])
def test_a_file_above_its_limit_is_refused(bundle, name, mib):
    with (bundle / name).open("r+b") as file:
        file.truncate(mib * 2**20 + 1)
    refused_directory(rewrite(bundle), TooLarge, name)


@pytest.mark.parametrize(
    "data",
    [
        b"numpy==2.0.0",
        b"numpy==2.0.0\r\n",
        b"numpy>=2.0.0\n",
        b"numpy\n",
        b"-r other.txt\n",
        b"--index-url http://x/\n",
        b"a @ file:///etc/passwd\n",
        b"numpy==2.0.0 ; python_version>'3'\n",
        b"numpy==2.0.0 --hash=sha256:0\n",
        b"scipy==1.0\nnumpy==2.0.0\n",
        b"numpy==2.0.0\nnumpy==2.0.0\n",
        b"\n",
        b"# numpy==1\n",
        b"n\xc3\xbcmpy==1\n",
        b"\xff\n",
        b"numpy==2.0.0\x0bscipy==1\n",
        b"a==$(id)\n",
    ],
)
def test_requirements_that_are_more_than_pins_are_refused(bundle, data):
    refused_both(put(bundle, "requirements.txt", data), RequirementsInvalid, "requirements.txt")


def test_requirements_may_be_empty(bundle):
    Bundle.open(put(bundle, "requirements.txt", b""))


def test_a_file_replaced_by_a_link_after_opening_is_refused(bundle, tmp_path):
    opened = Bundle.open(bundle)
    (bundle / "samples.npz").rename(tmp_path / "kept")
    (bundle / "samples.npz").symlink_to(tmp_path / "kept")
    with pytest.raises(LinkRefused):
        opened.samples()


def test_samples_changed_after_opening_are_refused(bundle):
    opened = Bundle.open(bundle)
    (bundle / "samples.npz").write_bytes(b"other")
    with pytest.raises(DigestMismatch, match=r"samples\.npz"):
        opened.samples()
