"""References to images: opens the source or target that a text names.

The forms are ``oci:DIR[:TAG]``, ``docker-archive:FILE[:NAME]`` and ``host/repository[:tag|@digest]``.
"""

from __future__ import annotations

import re
from pathlib import Path

from lading.errors import InvalidReference
from lading.image import Source, Target
from lading.image.docker import DockerArchive, DockerArchiveWriter
from lading.image.layout import LayoutImage
from lading.image.remote import RemoteImage
from lading.oci import Repository
from lading.ref import is_digest

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def open_source(text: str) -> Source:
    """Open the image that `text` names for reading. Raises `InvalidReference`."""
    kind, path, tag = _split(text)
    if kind == "oci":
        return LayoutImage(Path(path), tag)
    if kind == "docker-archive":
        return DockerArchive(Path(path), tag)
    return remote_image(text)


def open_target(text: str) -> Target:
    """Open the image that `text` names for writing. Raises `InvalidReference`."""
    kind, path, tag = _split(text)
    if kind == "oci":
        return LayoutImage(Path(path), tag)
    if kind == "docker-archive":
        return DockerArchiveWriter(Path(path), tag)
    return remote_image(text)


def remote_image(text: str) -> RemoteImage:
    """Open an image in a registry: ``host/repository:tag`` or ``…@sha256:…``; without a tag, ``latest``."""
    name, at, digest = text.partition("@")
    host, slash, path = name.partition("/")
    repository, colon, tag = path.partition(":")
    reference = digest if at else tag if colon else "latest"
    valid = is_digest(reference) if at else _TAG.fullmatch(reference)
    # Docker's rule for telling a host from the first part of a path; `docker.io` is never implied here.
    if not slash or not valid or not ("." in host or ":" in host or host == "localhost"):
        raise InvalidReference(
            f"image `{text}`",
            expected="`host/repository:tag`, `oci:FOLDER:TAG` or `docker-archive:FILE`",
            found="another form",
            hint="name the host as well, as in `docker.io/library/python:3.11-slim`",
        )
    return RemoteImage(Repository(host, repository), reference)


def open_repository(text: str) -> Repository:
    """Open a repository of a registry: ``host/repository``."""
    return remote_image(text).repository


def _split(text: str) -> tuple[str, str, str | None]:
    """Split a reference into transport, path and tag; the path ends at the first colon."""
    for kind in ("oci", "docker-archive"):
        if not text.startswith(f"{kind}:"):
            continue
        path = text.removeprefix(f"{kind}:")
        front, colon, tag = path.partition(":")
        if not front or (colon and not tag):
            expected = f"`{kind}:PATH` or `{kind}:PATH:NAME`"
            raise InvalidReference(f"image `{text}`", expected=expected, found="another form")
        return kind, front, tag or None
    return "", text, None
