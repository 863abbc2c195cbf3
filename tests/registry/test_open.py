"""Opening a registry: where it is, and where its store and its cache are."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lading.errors import (
    InvalidSetting,
)
from lading.registry import Registry
from support.files import files_below


def test_the_environment_names_the_registry(tmp_path, monkeypatch):
    monkeypatch.setenv("LADING_REGISTRY", str(tmp_path / "named"))
    with Registry.open() as registry:
        assert registry.where == str(tmp_path / "named")
    monkeypatch.delenv("LADING_REGISTRY")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with Registry.open() as registry:
        assert registry.where == str(tmp_path / "home" / ".lading")
    with Registry.open("~/here") as registry:
        assert registry.where == str(tmp_path / "home" / "here")


def test_a_relative_path_is_resolved_when_the_registry_is_opened(tmp_path, monkeypatch, bundle):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with Registry.open("relative") as registry:
        monkeypatch.chdir(tmp_path / "elsewhere")
        registry.push(bundle)
        assert registry.fetch("iris").path.is_relative_to(tmp_path / "relative")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_blobs_can_be_stored_in_another_folder(root, tmp_path, bundle):
    with Registry.open(str(root), store=str(tmp_path / "blobs")) as registry:
        registry.push(bundle)
        assert registry.fetch("iris").digest == bundle.digest
    assert not (root / "blobs").exists()


@pytest.mark.parametrize("url", ["s3://bucket", "oci://host/repo", "http://host"])
def test_a_registry_with_an_unknown_scheme_is_refused(url):
    with pytest.raises(InvalidSetting, match="expected a folder"):
        Registry.open(url)


@pytest.mark.parametrize("url", ["http://host", "s3://", "oci://host", "oci://host/Upper", "oci:///repo"])
def test_a_store_with_an_unknown_scheme_or_an_incomplete_url_is_refused(root, url):
    with pytest.raises(InvalidSetting, match="expected"):
        Registry.open(str(root), store=url)
    assert not root.exists()


@pytest.mark.parametrize("name", ["a b", "100%41", "what?mode=ro", "a#b", "모델"])
def test_a_registry_can_have_any_folder_name(tmp_path, bundle, name):
    with Registry.open(str(tmp_path / name)) as registry:
        registry.push(bundle)
    assert (tmp_path / name / "catalog.db").is_file()
    with Registry.open(str(tmp_path / name)) as registry:
        assert registry.fetch("iris").digest == bundle.digest


def test_importing_the_registry_loads_neither_sqlalchemy_nor_numpy():
    heavy = "{'numpy', 'sqlalchemy', 'httpx', 'botocore'}"
    code = f"import sys, lading.registry; print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_files_of_a_registry_are_those_that_the_reference_describes(root, bundle):
    with Registry.open(str(root)) as registry:
        version = registry.push(bundle)
        fetched = registry.fetch("iris:1")
    blob, unpacked = version.blob.removeprefix("sha256:"), version.digest.removeprefix("sha256:")
    assert files_below(root) == sorted(
        [
            f"blobs/sha256/{blob[:2]}/{blob}",
            *(f"cache/{unpacked}/{name}" for name in files_below(bundle.path)),
            "catalog.db",
        ]
    )
    assert fetched.path == root / "cache" / unpacked
