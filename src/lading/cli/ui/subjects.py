"""What `lading sbom` and `lading scan` are about: a bundle, a version, an image, a CycloneDX document."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lading.cli.ui.parameters import BundleType, open_registry
from lading.errors import InvalidSetting
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.trust.components import Component, Subject

_DOCUMENTS = (".json", ".cdx")


@dataclass(frozen=True)
class Inventoried:
    """A subject, what it consists of, and the digests in the registry that this is known of."""

    subject: Subject
    components: tuple[Component, ...]
    digests: tuple[str, ...] = ()


def listed(text: str, registry: str | None, platform: str = "") -> Inventoried:
    """Return what `text` names and what it consists of."""
    if is_image(text):
        return _image(text, platform)
    path = Path(text).expanduser()
    if path.is_file() and path.name.endswith(_DOCUMENTS):
        return _document(path)
    source = BundleType().convert(text, None, None)
    return _bundle(source, registry)


def is_image(text: str) -> bool:
    """Return whether `text` names an image: with its transport, or in a registry by its host."""
    if text.startswith(("oci:", "docker-archive:")):
        return True
    host, slash, _ = text.partition("/")
    in_registry = "." in host.strip(".") or ":" in host or host == "localhost"
    return bool(slash) and in_registry and not Path(text).exists()


def _image(text: str, platform: str) -> Inventoried:
    from lading.image.packages import image_packages, runtime_of
    from lading.image.references import open_source

    with contextlib.closing(open_source(text)) as source:
        subject, components = image_packages(source, platform)
        runtime = runtime_of(source, platform)
    return Inventoried(subject, components, tuple(dict.fromkeys(filter(None, (subject.digest, runtime)))))


def _document(path: Path) -> Inventoried:
    from lading.trust.sbom import MAX_SBOM_BYTES, read_sbom

    where = f"`{path}`"
    if path.stat().st_size > MAX_SBOM_BYTES:
        raise InvalidSetting(where, expected=f"at most {MAX_SBOM_BYTES:,} bytes", found="more")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidSetting(where, expected="CycloneDX as JSON", found="bytes not in UTF-8") from None
    return Inventoried(*read_sbom(text, where))


def _bundle(source: Ref | Path, registry: str | None) -> Inventoried:
    from lading.bundle import Bundle
    from lading.trust.components import bundle_components, bundle_subject

    if isinstance(source, Path):
        bundle = Bundle.open(source)
        return Inventoried(bundle_subject(bundle), bundle_components(bundle))
    with open_registry(registry) as opened:
        version = opened.resolve(source)
        bundle = opened.fetch(Ref(version.name, digest=version.digest))
    subject = bundle_subject(bundle, str(version.version))
    return Inventoried(subject, bundle_components(bundle), (version.digest,))
