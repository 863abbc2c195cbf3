"""The environment of models in Python as a layer of an image, of wheels that were made by hand."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from lading.bundle.environment_lock import EnvironmentLock, lock_of
from lading.errors import EnvironmentFailed, EnvironmentPythonMissing, ImageInvalid
from lading.image.build import build
from lading.image.bundle_layers import from_bundle
from lading.image.environments import FOLDER, environment_layer
from lading.image.inspect import inspect
from lading.image.interpreter import ImagePython
from lading.image.references import open_source, open_target
from lading.runtime.python.environments import EnvironmentStore
from support.images import base_with, tiny_base
from support.python_bundles import FILES, python_bundle
from support.tiny_wheels import tiny_lock, write_wheel

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HERE = ImagePython(PYTHON, str(Path(sys.executable).resolve()))
# The import of its code would be seen.
WRITES = b"from pathlib import Path\n\nPath('%s').touch()\n"


@pytest.fixture
def wheels(tmp_path) -> Path:
    return tmp_path / "wheels"


@pytest.fixture
def lock(wheels) -> EnvironmentLock:
    return tiny_lock(wheels, "tiny-scale", "tiny-trees")


def layer_of(lock, folder, wheels, python=HERE):
    folder.mkdir()
    return environment_layer(lock, python, architecture="amd64", folder=folder, wheels=wheels)


@pytest.mark.slow
def test_the_layer_is_an_environment_that_runs_and_has_what_its_lock_names(lock, wheels, tmp_path):
    layer = layer_of(lock, tmp_path / "built", wheels)
    with tarfile.open(layer.layer.path) as archive:
        archive.extractall(tmp_path / "image", filter="fully_trusted")
    store = EnvironmentStore(tmp_path / "none", ready=tmp_path / "image" / FOLDER)
    environment = store.get(lock, PYTHON)
    assert environment.installed() == {"tiny-scale": "1.0", "tiny-trees": "1.0"}
    code = "import sys, tiny_trees; print(sys.prefix, tiny_trees.version)"
    done = subprocess.run(
        [environment.interpreter, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(environment.path), "1.0"]
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_the_same_lock_gives_the_same_bytes_and_no_path_of_this_machine(lock, wheels, tmp_path):
    python = ImagePython(PYTHON, "/usr/bin/python3")
    first = layer_of(lock, tmp_path / "first", wheels, python)
    for path in wheels.iterdir():
        os.utime(path, (1, 1))
    moved = wheels.rename(tmp_path / "moved")
    second = layer_of(lock, tmp_path / "second", moved, python)
    assert first.entry == second.entry
    content = first.layer.path.read_bytes()
    assert content == second.layer.path.read_bytes()
    assert str(tmp_path).encode() not in content
    with tarfile.open(first.layer.path) as archive:
        names = archive.getnames()
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.slow
def test_data_and_programs_of_a_wheel_are_installed_and_scripts_are_not(wheels, tmp_path):
    data = "tiny_scale-1.0.data"
    more = {f"{data}/data/share/a.txt": "1", f"{data}/scripts/a": "\x7fELF", f"{data}/scripts/b": "#!python"}
    lock = lock_of([write_wheel(wheels, "tiny-scale", files=more, scripts={"run": "tiny_scale:run"})])
    layer = layer_of(lock, tmp_path / "built", wheels)
    with tarfile.open(layer.layer.path) as archive:
        top = f"{FOLDER}/{lock.digest.removeprefix('sha256:')}-py{PYTHON}/"
        names = {member.name.removeprefix(top) for member in archive if not member.isdir()}
    assert {"share/a.txt", "bin/a", "bin/python", "pyvenv.cfg", "environment.lock"} <= names
    assert {"bin/b", "bin/run"}.isdisjoint(names)


@pytest.mark.slow
def test_a_package_that_holds_other_packages_keeps_their_metadata(wheels, tmp_path):
    inner = {f"a/_vendor/other-2.0.dist-info/{name}": name for name in ("METADATA", "RECORD")}
    lock = lock_of([write_wheel(wheels, "tiny-scale", files=inner)])
    layer = layer_of(lock, tmp_path / "built", wheels)
    with tarfile.open(layer.layer.path) as archive:
        archive.extractall(tmp_path / "image", filter="fully_trusted")
    (site,) = (tmp_path / "image" / FOLDER).glob("*/lib/*/site-packages")
    assert {name: (site / name).read_text() for name in inner} == inner
    assert "tiny_scale/__init__.py,sha256=" in (site / "tiny_scale-1.0.dist-info" / "RECORD").read_text()


@pytest.mark.slow
def test_a_wheel_with_another_hash_is_refused_with_its_name(lock, wheels, tmp_path):
    write_wheel(wheels, "tiny-trees", files={"tiny_trees/more.py": "1"})
    with pytest.raises(EnvironmentFailed, match=r"expected `tiny-trees==1\.0` with sha256:") as caught:
        layer_of(lock, tmp_path / "built", wheels)
    assert caught.value.found.startswith("sha256:")
    assert "another file than the one that was packed with" in caught.value.hint


@pytest.mark.slow
def test_a_lock_of_another_platform_is_refused_with_the_option_that_names_it(lock, wheels, tmp_path):
    (wheels / "tiny_trees-1.0-py3-none-any.whl").unlink()
    (tmp_path / "built").mkdir()
    with pytest.raises(EnvironmentFailed, match=r"on s390x: .*`tiny-trees") as caught:
        environment_layer(lock, HERE, architecture="s390x", folder=tmp_path / "built", wheels=wheels)
    assert "--platform" in caught.value.hint


@pytest.mark.slow
def test_a_missing_wheel_is_named(lock, wheels, tmp_path):
    (wheels / "tiny_trees-1.0-py3-none-any.whl").unlink()
    with pytest.raises(EnvironmentFailed, match="a wheel of `tiny-trees"):
        layer_of(lock, tmp_path / "built", wheels)


@pytest.mark.slow
def test_a_wheel_that_holds_another_version_than_its_name_says_is_refused(wheels, tmp_path):
    lock = lock_of([write_wheel(wheels, "tiny-scale", metadata_version="2.0")])
    with pytest.raises(EnvironmentFailed, match="tiny-scale"):
        layer_of(lock, tmp_path / "built", wheels)


@pytest.mark.slow
def test_bundles_with_one_lock_share_a_layer_and_a_base_that_has_it_is_not_given_it_again(
    lock, wheels, tmp_path
):
    imported = tmp_path / "imported"
    code = WRITES % str(imported).encode() + FILES["code/doubled.py"]
    files = {**FILES, "code/doubled.py": code, "environment.lock": lock.to_bytes()}
    names = ("one", "two", "three")
    layers = [from_bundle(python_bundle(tmp_path / name, files, name=name)) for name in names]
    target, again = (open_target(f"oci:{tmp_path / 'out'}:{name}") for name in ("image", "again"))
    built = build(open_source(base_with(tmp_path / "base")), layers[:2], target, wheels=wheels)
    (environment,) = built.environments
    assert environment.lock == lock.digest
    (platform,) = inspect(open_source(built.image)).platforms
    assert [layer.what for layer in platform.layers] == [
        "tests", f"environment {lock.digest[:19]}, Python {PYTHON}", "bundle one", "bundle two",
    ]  # fmt: skip
    assert platform.environments == [environment]
    # Without the wheels: it cannot be built again.
    wheels.rename(tmp_path / "moved")
    more = build(open_source(built.image), layers[2:], again, wheels=tmp_path)
    assert more.environments == [environment]
    assert tuple(entry.name for entry in more.bundles) == names
    assert not imported.exists()


@pytest.mark.parametrize(
    ("first_line", "env"),
    [
        ("#!/usr/bin/python3.9", ()),
        ("#!/usr/local/bin/python", ("PYTHON_VERSION=3.9.2",)),
        ("#!/usr/bin/env python3", ("PYTHON_VERSION=3.9.2",)),
    ],
)
def test_a_base_with_another_python_than_the_bundle_is_refused_with_both(tmp_path, first_line, env):
    layer = from_bundle(python_bundle(tmp_path / "doubled"))
    base = open_source(base_with(tmp_path / "base", first_line, env=env))
    with pytest.raises(EnvironmentPythonMissing, match=r"expected Python 3\.11, found Python 3\.9"):
        build(base, [layer], open_target(f"oci:{tmp_path / 'out'}:image"))
    assert not (tmp_path / "out").exists()


def test_a_base_without_lading_has_no_python_for_a_bundle(tmp_path):
    layer = from_bundle(python_bundle(tmp_path / "doubled"))
    with pytest.raises(ImageInvalid, match="a Python that its `/usr/local/bin/lading` names"):
        build(
            open_source(tiny_base(tmp_path / "base")), [layer], open_target(f"oci:{tmp_path / 'out'}:image")
        )
