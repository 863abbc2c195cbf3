"""The packages of an image are those that dpkg and pip list in it."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from lading.bundle.environment_lock import normal_name
from lading.errors import ImageInvalid
from lading.image import packages
from lading.image.layers import LayerFile, archive_layer, files_layer
from lading.image.layout import LayoutImage
from lading.image.packages import image_packages, packages_of
from lading.image.references import open_source
from lading.oci import MANIFEST
from lading.trust.sbom import sbom_document
from support.images import put_image, root_filesystem, tiny_base

RELEASE = b'PRETTY_NAME="Debian"\nID=debian\nVERSION_ID="12"\n'
STATUS = b"""Package: libssl3
Status: install ok installed
Architecture: amd64
Source: openssl (3.0.11-1~deb12u1)
Version: 3.0.11-1~deb12u1+b1
Description: libraries
 of several lines
 .
 and paragraphs

Package: removed
Status: deinstall ok config-files
Version: 1.0

Package: netbase
Status: hold ok installed
Architecture: all
Version: 6.4
"""
METADATA = b"Metadata-Version: 2.1\nName: Big_Tables\nVersion: 1.0\n\nName: of the README\n"


def layered(folder: Path, *layers: dict[str, bytes] | Path) -> str:
    """Write an image of layers, the lowest first, each from its files or from a tar; return its name."""
    image = LayoutImage(folder, "made")
    made = []
    for number, content in enumerate(layers):
        path = folder.with_name(f"{folder.name}.{number}")
        if isinstance(content, Path):
            made.append(archive_layer(content, path, compress=False))
        else:
            files = {name: LayerFile(data) for name, data in content.items()}
            made.append(files_layer(files, path, compress=number % 2 == 0))
    config = {"os": "linux", "architecture": "amd64", "config": {}}
    config["rootfs"] = {"type": "layers", "diff_ids": [layer.diff_id for layer in made]}
    image.name(put_image(image, config, [layer.blob for layer in made]), MANIFEST)
    return f"oci:{folder}:made"


def titles(name: str) -> set[tuple[str, str]]:
    _, components = image_packages(open_source(name))
    return {(each.ecosystem, each.title) for each in components}


def test_packages_of_dpkg_and_of_pip_are_listed(tmp_path):
    name = layered(
        tmp_path / "image",
        {"var/lib/dpkg/status": STATUS, "usr/lib/os-release": RELEASE, "usr/bin/python3.11": b"ELF"},
        {
            "usr/lib/python3/dist-packages/big_tables-1.0.dist-info/METADATA": METADATA,
            "opt/env/lib/python3.11/site-packages/old.egg-info/PKG-INFO": b"Name: old\nVersion: 0.1\n",
            # What a package brings along for itself is none that pip lists.
            "usr/lib/python3/dist-packages/pip/_vendor/idna-3.7.dist-info/METADATA": METADATA,
        },
    )
    assert titles(name) == {
        ("Debian:12", "libssl3 3.0.11-1~deb12u1+b1"),
        ("Debian:12", "netbase 6.4"),
        ("PyPI", "big-tables 1.0"),
        ("PyPI", "old 0.1"),
        ("generic", "debian 12"),
        ("generic", "python 3.11"),
    }
    subject, components = image_packages(open_source(name))
    library = next(each for each in components if each.name == "libssl3")
    assert (library.source, library.source_version) == ("openssl", "3.0.11-1~deb12u1")
    text = sbom_document(subject, components)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert json.loads(text)["metadata"]["component"]["type"] == "container"


def test_later_layers_replace_and_remove_what_earlier_ones_have(tmp_path):
    place = "opt/env/lib/python3.11/site-packages"
    name = layered(
        tmp_path / "image",
        {
            f"{place}/one-1.0.dist-info/METADATA": b"Name: one\nVersion: 1.0\n",
            f"{place}/two-1.0.dist-info/METADATA": b"Name: two\nVersion: 1.0\n",
            "srv/site-packages/three-1.0.dist-info/METADATA": b"Name: three\nVersion: 1.0\n",
            "var/lib/dpkg/status.d/netbase": b"Package: netbase\nVersion: 6.4\n",
        },
        {
            f"{place}/.wh.one-1.0.dist-info": b"",
            f"{place}/one-2.0.dist-info/METADATA": b"Name: one\nVersion: 2.0\n",
            "srv/.wh..wh..opq": b"",
            "srv/site-packages/four-1.0.dist-info/METADATA": b"Name: four\nVersion: 1.0\n",
        },
    )
    assert {title for _, title in titles(name)} == {"one 2.0", "two 1.0", "four 1.0", "netbase 6.4"}


def test_the_platform_of_an_index_is_chosen(tmp_path):
    base = tiny_base(tmp_path / "base", "amd64", "arm64")
    first, _ = image_packages(open_source(base))
    chosen, _ = image_packages(open_source(base), "linux/arm64")
    assert first.digest != chosen.digest
    with pytest.raises(ImageInvalid, match="an image for `linux/riscv64`, found none"):
        image_packages(open_source(base), "linux/riscv64")


def test_metadata_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "MAX_METADATA_BYTES", 100)
    name = layered(tmp_path / "image", {"var/lib/dpkg/status": STATUS})
    with pytest.raises(
        ImageInvalid, match=r"at most 0 MiB of metadata, found \d+ bytes in `var/lib/dpkg/status`"
    ):
        image_packages(open_source(name))


@pytest.mark.slow
def test_what_this_environment_holds_is_what_pip_lists():
    folder = Path(next(path for path in sys.path if path.endswith("site-packages")))
    files = {
        path.relative_to("/").as_posix(): path.read_bytes() for path in folder.glob("*.dist-info/METADATA")
    }
    command = [sys.executable, "-m", "pip", "list", "--format=json", f"--path={folder}"]
    listed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    # What is installed in place of a wheel, as lading is here, has its metadata elsewhere.
    expected = {
        (normal_name(each["name"]), each["version"])
        for each in listed
        if "editable_project_location" not in each
    }
    assert {(each.name, each.version) for each in packages_of(files) if each.ecosystem == "PyPI"} >= expected


def test_what_this_machine_holds_is_what_dpkg_lists():
    names = ("var/lib/dpkg/status", "usr/lib/os-release")
    files = {name: Path("/", name).read_bytes() for name in names if Path("/", name).exists()}
    if len(files) < 2:
        pytest.skip("no dpkg on this machine")
    form = (
        "-f=${Package} ${Version} ${Architecture} ${source:Package} ${source:Version} ${db:Status-Status}\n"
    )
    lines = subprocess.run(["dpkg-query", "-W", form], capture_output=True, text=True, check=True).stdout
    listed = {tuple(line.split()[:5]) for line in lines.splitlines() if line.endswith(" installed")}
    debian = [each for each in packages_of(files) if each.ecosystem.startswith("Debian")]
    assert {(c.name, c.version, c.architecture, c.source, c.source_version) for c in debian} == listed


def test_without_the_list_of_dpkg_packages_are_known_by_their_changelogs(tmp_path):
    heading = b"openssl (3.0.11-1~deb12u1) bookworm; urgency=medium\n\n  * News.\n"
    name = layered(
        tmp_path / "image",
        {
            "etc/os-release": RELEASE,
            "usr/share/doc/libssl3/changelog.Debian.gz": gzip.compress(heading),
            "usr/share/doc/libssl3/changelog.gz": gzip.compress(b"OpenSSL CHANGES\n"),
            "usr/share/doc/netbase/changelog.gz": gzip.compress(b"netbase (6.4) unstable; urgency=low\n"),
            "usr/share/doc/other/changelog.gz": b"no gzip",
        },
    )
    assert titles(name) == {
        ("Debian:12", "libssl3 3.0.11-1~deb12u1"),
        ("Debian:12", "netbase 6.4"),
        ("generic", "debian 12"),
    }


@pytest.mark.slow
def test_a_root_filesystem_that_images_are_built_on_lists_its_packages(tmp_path):
    name = layered(tmp_path / "image", root_filesystem())
    _, components = image_packages(open_source(name))
    debian = {each.name: each for each in components if each.ecosystem == "Debian:12"}
    # Each package has its folder of documents there, and no folder is of anything else.
    with tarfile.open(root_filesystem()) as tar:
        folders = {
            match[1] for each in tar.getnames() if (match := re.fullmatch(r"./usr/share/doc/([^/]+)", each))
        }
    assert set(debian) == folders
    assert {debian[each].source for each in ("libc6", "libssl3", "libstdc++6")} == {
        "glibc",
        "openssl",
        "gcc-12",
    }
    assert ("generic", "python 3.11") in {(each.ecosystem, each.title) for each in components}
    text = sbom_document(*image_packages(open_source(name)))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
