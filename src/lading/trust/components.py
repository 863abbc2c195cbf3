"""What a bundle, an image or a server consists of: packages with their versions. Looks up nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from lading.bundle import REQUIREMENTS_FILE
from lading.bundle.environment_lock import normal_name
from lading.bundle.manifest import LOCK_FILE

if TYPE_CHECKING:
    from lading.bundle import Bundle

PYPI = "PyPI"
DEBIAN = "Debian"
GENERIC = "generic"
"""The ecosystem of what no package index has: the interpreter, the operating system."""

Part = Literal["runs", "training"]
"""Whether a component runs when the model answers, or was only present when the model was trained."""


class Component(msgspec.Struct, frozen=True, order=True, kw_only=True, omit_defaults=True):
    """A package at a version. An empty version means that none is stated.

    ``ecosystem`` is that of OSV: ``PyPI``, or ``Debian:12``, whose advisories name the source package.
    """

    ecosystem: str
    name: str
    version: str = ""
    source: str = ""
    source_version: str = ""
    architecture: str = ""
    hashes: tuple[str, ...] = ()  # `sha256:…`, of the files that it may be installed from
    part: Part = "runs"

    @property
    def title(self) -> str:
        """Its name with its version: ``jinja2 2.10``."""
        return f"{self.name} {self.version}".strip()


class Subject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The bundle, image or server that components belong to."""

    kind: Literal["bundle", "image", "server", "document"]
    name: str
    version: str = ""
    digest: str = ""  # `sha256:…`
    purpose: str = ""
    owner: str = ""
    description: str = ""
    datasets: tuple[str, ...] = ()  # digests of data that it was trained on


def bundle_subject(bundle: Bundle, version: str = "") -> Subject:
    """Return a bundle as the subject of a document or a scan; `version` is its number in a registry."""
    manifest = bundle.manifest
    lineage = manifest.lineage
    return Subject(
        kind="bundle",
        name=manifest.name,
        version=version,
        digest=bundle.digest,
        purpose=manifest.purpose,
        owner=manifest.owner,
        description=manifest.description,
        datasets=(lineage.data,) if lineage is not None and lineage.data else (),
    )


def bundle_components(bundle: Bundle) -> tuple[Component, ...]:
    """Return what a bundle lists: its environment's lock, its Python, and what it was trained with.

    A package of the lock that training had at the same version is listed once, as one that runs.
    """
    manifest = bundle.manifest
    components: list[Component] = []
    if LOCK_FILE in manifest.files:
        components += [
            Component(ecosystem=PYPI, name=pin.name, version=pin.version, hashes=pin.hashes)
            # The hashes are of wheels and archives, of which an installer chooses one.
            for pin in bundle.lock().pins
        ]
        # The manifest states 3.11 and no patch: which one runs, the server states.
        components.append(Component(ecosystem=GENERIC, name="python", version=manifest.python))
    runs = {(component.name, component.version) for component in components}
    # By the rules of the format these are lines of `name==version`, and nothing else.
    lines = (bundle.path / REQUIREMENTS_FILE).read_text(encoding="ascii").splitlines()
    for line in lines:
        name, _, version = line.partition("==")
        if (normal_name(name), version) not in runs:
            components.append(
                Component(ecosystem=PYPI, name=normal_name(name), version=version, part="training")
            )
    return tuple(sorted(components))


def server_components(packages: Mapping[str, str], python: str, os: str) -> tuple[Component, ...]:
    """Return what a server states that it runs on: packages, Python, operating system (``debian 12``)."""
    components = [
        Component(ecosystem=PYPI, name=normal_name(name), version=version)
        for name, version in packages.items()
    ]
    if python:
        components.append(Component(ecosystem=GENERIC, name="python", version=python))
    if os:
        # As `/etc/os-release` has ID and VERSION_ID.
        name, _, version = os.partition(" ")
        components.append(Component(ecosystem=GENERIC, name=name, version=version))
    return tuple(sorted(components))


def merged(*lists: Iterable[Component]) -> tuple[Component, ...]:
    """Return the components of several lists, each once."""
    return tuple(sorted({component for components in lists for component in components}))
