"""Wheels: collected, checked and unpacked."""

from __future__ import annotations

import pytest

import lading
from lading.errors import (
    ImageInvalid,
    UsageError,
)
from lading.image.wheels import Wheel, collect_wheels, lading_files, own_wheel, unpack
from support.built_images import wheel


def test_a_wheel_is_unpacked_without_scripts(tmp_path):
    files = {
        "some/a.py": b"1",
        "some_thing-1.2.data/scripts/run": b"2",
        "some_thing-1.2.data/purelib/b.py": b"3",
    }
    wheel(tmp_path, files)
    (collected,) = collect_wheels(tmp_path, tmp_path, python="3.11", architecture="amd64")
    assert collected.line.startswith("some-thing==1.2 --hash=sha256:")
    assert set(unpack(collected)) == {"some/a.py", "b.py"}


def test_a_wheel_whose_file_differs_from_its_record_is_refused(tmp_path):
    wheel(tmp_path, {"some/a.py": b"1"}, wrong_digest="AAAA")
    (collected,) = collect_wheels(tmp_path, tmp_path, python="3.11", architecture="amd64")
    with pytest.raises(ImageInvalid, match="sha256=AAAA"):
        unpack(collected)


def test_a_wheel_with_a_path_outside_its_root_is_refused(tmp_path):
    wheel(tmp_path, {"../a.py": b"1"})
    (collected,) = collect_wheels(tmp_path, tmp_path, python="3.11", architecture="amd64")
    with pytest.raises(ImageInvalid, match="names below its root"):
        unpack(collected)


@pytest.mark.parametrize("damage", ["no zip", "truncated", "changed", "no RECORD"])
def test_an_unreadable_wheel_is_refused(tmp_path, damage):
    path = wheel(tmp_path, {"some/a.py": b"1" * 1000})
    content = path.read_bytes()
    damaged = {
        "no zip": b"<html>404</html>",
        "truncated": content[:-30],
        "changed": content.replace(b"1" * 1000, b"1" * 999 + b"2"),
        "no RECORD": content.replace(b"RECORD", b"DROCER"),
    }
    path.write_bytes(damaged[damage])
    (collected,) = collect_wheels(tmp_path, tmp_path, python="3.11", architecture="amd64")
    with pytest.raises(ImageInvalid, match=r"wheel `.*some_thing.*`: expected a ") as caught:
        unpack(collected)
    assert ("RECORD" in str(caught.value)) is (damage == "no RECORD")


def test_a_wheel_with_an_invalid_name_is_refused(tmp_path):
    (tmp_path / "thing.whl").touch()
    with pytest.raises(ImageInvalid, match=r"found `thing\.whl`"):
        collect_wheels(tmp_path, tmp_path, python="3.11", architecture="amd64")


def test_an_unpinned_requirement_is_refused(tmp_path):
    (tmp_path / "serve.txt").write_text("numpy==2.0.0  # fine\nhttpx>=1\n")
    with pytest.raises(UsageError, match=r"found `httpx>=1`"):
        collect_wheels(tmp_path / "serve.txt", tmp_path, python="3.11", architecture="amd64")


def test_the_files_of_lading_are_collected_without_bytecode():
    names = lading_files()
    assert "lading/__init__.py" in names
    assert "lading/server/grpc/_proto/oip.binpb" in names
    assert "lading/server/process/docs.html" in names
    assert not [name for name in names if "__pycache__" in name]
    assert f"lading_ml-{lading.__version__}.dist-info/METADATA" in names


def test_a_wheel_of_another_projects_lading_is_refused(tmp_path):
    def named(name):
        return Wheel(name=name, version="0.1.0", sha256="0" * 64, path=str(tmp_path / f"{name}.whl"))

    assert own_wheel([named("numpy")]) is None
    assert own_wheel([named("numpy"), named("lading-ml")]) == named("lading-ml")
    with pytest.raises(UsageError, match="expected `lading-ml`, found `lading`"):
        own_wheel([named("lading"), named("lading-ml")])


def test_a_lading_whose_files_are_gone_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("lading.__file__", str(tmp_path / "lading" / "__init__.py"))
    with pytest.raises(ImageInvalid, match="expected its Python files"):
        lading_files()
