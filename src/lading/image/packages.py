"""The packages in an image: what dpkg and pip would list in a container of it. Runs nothing of the image.

Reads the layers from the lowest to the uppermost as a container engine stacks them: a file of a later one
replaces that of an earlier one, and whiteouts remove it (image-spec, "layer.md").
"""

from __future__ import annotations

import gzip
import posixpath
import re
import tarfile
import zlib
from collections.abc import Iterator
from email.parser import HeaderParser
from typing import IO

from lading.bundle.environment_lock import normal_name
from lading.errors import ImageInvalid
from lading.image import Source, environment_of, read_config, read_index, read_manifest
from lading.image.build import IMAGE_VARIABLE, platform_name
from lading.image.layers import MAX_UNPACKED_BYTES, open_tar
from lading.oci import Document
from lading.trust.components import GENERIC, PYPI, Component, Subject, merged

MAX_METADATA_BYTES = 64 * 2**20
"""The most that is read of one file: dpkg's list of a full desktop has 10 MB."""

_DPKG = re.compile(r"var/lib/dpkg/(status|status\.d/[^/]+)")
# Debian's policy has each package keep its changelog; one folder may be a link to that of a sibling.
_CHANGELOG = re.compile(r"usr/share/doc/([^/]+)/changelog(?:\.Debian)?(?:\.gz)?")
_DOCUMENTS = re.compile(r"usr/share/doc/([^/]+)")
_HEADING = re.compile(rb"([a-z0-9][a-z0-9+.-]*) \(([^() ]+)\) ")
_LONGEST_HEADING = 512
_PYTHON_PACKAGE = re.compile(
    r"(.*/)?(site|dist)-packages/[^/]+(\.dist-info/METADATA|\.egg-info/PKG-INFO|\.egg-info)"
)
_RELEASES = ("usr/lib/os-release", "etc/os-release")
_INTERPRETER = re.compile(r"usr/(?:local/)?bin/python(3\.\d+)")
_OPAQUE = ".wh..wh..opq"
_INSTALLED = "installed"


def image_packages(source: Source, platform: str = "") -> tuple[Subject, tuple[Component, ...]]:
    """Return an image as a subject, and its packages; `platform` chooses one of an index, else the first.

    Raises `ImageInvalid` and `ImageNotFound`.
    """
    document = _document(source, platform)
    manifest = read_manifest(document, source.where)
    config = read_config(source, manifest)
    files: dict[str, bytes] = {}
    for layer in manifest.layers:
        where = f"layer `{layer.digest[:19]}` of `{source.where}`"
        with (
            source.open(layer.digest) as file,
            open_tar(file, where) as plain,
            tarfile.open(fileobj=plain, mode="r|") as archive,
        ):
            _stack(archive, files, where)
    labels = (config.get("config") or {}).get("Labels") or {}
    subject = Subject(
        kind="image",
        name=source.where,
        digest=document.digest,
        owner=labels.get("org.opencontainers.image.authors", ""),
    )
    return subject, packages_of(files)


def runtime_of(source: Source, platform: str = "") -> str:
    """Return the id of an image's runtime, which its servers state about themselves, or nothing."""
    manifest = read_manifest(_document(source, platform), source.where)
    config = read_config(source, manifest)
    return environment_of(config.get("config") or {}).get(IMAGE_VARIABLE, "")


def packages_of(files: dict[str, bytes]) -> tuple[Component, ...]:
    """Return the components that the metadata files of a root filesystem list, by their paths."""
    system, release = _release(files)
    ecosystem = f"{system.capitalize()}:{release}" if release else system.capitalize()
    debian = [
        component
        for name, data in files.items()
        if _DPKG.fullmatch(name)
        for component in _dpkg_packages(data, ecosystem)
    ] or _documented_packages(files, ecosystem)
    python = [
        component
        for name, data in files.items()
        if _PYTHON_PACKAGE.fullmatch(name) and (component := _python_package(data)) is not None
    ]
    others = [Component(ecosystem=GENERIC, name=system, version=release)] if system else []
    versions = {match[1] for name in files if (match := _INTERPRETER.fullmatch(name))}
    others += [Component(ecosystem=GENERIC, name="python", version=version) for version in versions]
    return merged(debian, python, others)


def _document(source: Source, platform: str) -> Document:
    root = source.root()
    index = read_index(root, source.where)
    if index is None:
        return root
    # The platform `unknown` marks attestations.
    entries = [entry for entry in index.manifests if (entry.platform or {}).get("os") != "unknown"]
    for entry in entries:
        document = source.document(entry.digest)
        if (
            not platform
            or platform_name(read_config(source, read_manifest(document, source.where))) == platform
        ):
            return document
    raise ImageInvalid(f"image `{source.where}`", expected=f"an image for `{platform}`", found="none")


def _stack(archive: tarfile.TarFile, files: dict[str, bytes], where: str) -> None:
    """Apply one layer to the `files` of those below it."""
    added: dict[str, bytes] = {}
    unpacked = 0
    for member in archive:
        name = posixpath.normpath(member.name).lstrip("/")
        folder, base = posixpath.split(name)
        unpacked += member.size
        if unpacked > MAX_UNPACKED_BYTES:
            actual = f"more, with `{name}`"
            raise ImageInvalid(where, expected=f"at most {MAX_UNPACKED_BYTES >> 30} GiB", found=actual)
        if base == _OPAQUE:
            _remove(files, f"{folder}/")
        elif base.startswith(".wh."):
            removed = posixpath.join(folder, base.removeprefix(".wh."))
            files.pop(removed, None)
            _remove(files, f"{removed}/")
        elif _INTERPRETER.fullmatch(name) and not member.isdir():
            added[name] = b""
        elif member.issym() and _DOCUMENTS.fullmatch(name):
            added[name] = member.linkname.encode()
        elif member.isfile() and _CHANGELOG.fullmatch(name):
            added[name] = _heading(archive.extractfile(member), name)
        elif member.isfile() and (
            _DPKG.fullmatch(name) or _PYTHON_PACKAGE.fullmatch(name) or name in _RELEASES
        ):
            if member.size > MAX_METADATA_BYTES:
                expected = f"at most {MAX_METADATA_BYTES >> 20} MiB of metadata"
                raise ImageInvalid(where, expected=expected, found=f"{member.size:,} bytes in `{name}`")
            content = archive.extractfile(member)
            added[name] = content.read() if content is not None else b""
    # After all whiteouts of the layer, which are about the layers below it wherever they stand in the tar.
    files.update(added)


def _remove(files: dict[str, bytes], prefix: str) -> None:
    for name in [name for name in files if name.startswith(prefix)]:
        del files[name]


def _release(files: dict[str, bytes]) -> tuple[str, str]:
    text = next((files[name] for name in _RELEASES if files.get(name)), b"").decode(errors="replace")
    values = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    return values.get("ID", "").strip("\"'"), values.get("VERSION_ID", "").strip("\"'")


def _dpkg_packages(data: bytes, ecosystem: str) -> Iterator[Component]:
    for paragraph in re.split(r"\n\n+", data.decode(errors="replace")):
        fields = HeaderParser().parsestr(paragraph.strip("\n"))
        name, version = fields.get("Package", ""), fields.get("Version", "")
        # Files of `status.d`, as in distroless images, have no status: what they list is installed.
        status = fields.get("Status", f"install ok {_INSTALLED}")
        if not name or status.split()[-1:] != [_INSTALLED]:
            continue
        source, _, source_version = fields.get("Source", "").partition(" ")
        yield Component(
            ecosystem=ecosystem,
            name=name,
            version=version,
            source=source or name,
            source_version=source_version.strip("()") or version,
            architecture=fields.get("Architecture", ""),
        )


def _heading(file: IO[bytes] | None, name: str) -> bytes:
    """Return the first line of a changelog, which states the package's source and its version."""
    if file is None:
        return b""
    try:
        plain = gzip.GzipFile(fileobj=file) if name.endswith(".gz") else file
        return plain.readline(_LONGEST_HEADING)
    except (OSError, EOFError, zlib.error):
        return b""  # Not a changelog of Debian's, whatever its name.


def _documented_packages(files: dict[str, bytes], ecosystem: str) -> list[Component]:
    """Return the packages that a root filesystem has changelogs of, for one without dpkg's list.

    As `mmdebstrap --variant=extract` makes it, on which lading's own images are built. A rebuild of the same
    source (``+b1``) looks like the first build, and advisories do not distinguish them either.
    """
    sources: dict[str, tuple[str, str]] = {}
    # That of the package itself comes after that of its upstream, and wins.
    for name in sorted(files, key=lambda name: ".Debian" in name):
        match, heading = _CHANGELOG.fullmatch(name), _HEADING.match(files[name])
        if match and heading:
            sources[match[1]] = (heading[1].decode(), heading[2].decode(errors="replace"))
    for name, data in files.items():
        if (match := _DOCUMENTS.fullmatch(name)) and (target := data.decode(errors="replace")) in sources:
            sources[match[1]] = sources[target]
    return [
        Component(ecosystem=ecosystem, name=name, version=version, source=source, source_version=version)
        for name, (source, version) in sources.items()
    ]


def _python_package(data: bytes) -> Component | None:
    # Headers end at the first empty line; what follows is the README.
    head = data.partition(b"\n\n")[0].decode(errors="replace")
    fields = HeaderParser().parsestr(head)
    name = fields.get("Name", "")
    if not name:
        return None
    return Component(ecosystem=PYPI, name=normal_name(name), version=fields.get("Version", ""))
