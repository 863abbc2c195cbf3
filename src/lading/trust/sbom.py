"""What something consists of as a document of CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/).

The same components give the same bytes: a document has no time of its own, and its serial number follows from
the digest of its subject. Resolves and looks up nothing.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

import lading
from lading.errors import InvalidSetting, missing_extra
from lading.trust.components import DEBIAN, GENERIC, PYPI, Component, Subject

if TYPE_CHECKING:
    from cyclonedx.model import HashType, Property
    from cyclonedx.model.component import Component as CycloneComponent
    from packageurl import PackageURL

SBOM_TYPE = "application/vnd.cyclonedx+json; version=1.6"
MAX_SBOM_BYTES = 16 * 2**20
_KINDS = {"pypi": PYPI, "generic": GENERIC}
_DPKG = (DEBIAN, "Ubuntu")
"""Systems whose packages are dpkg's."""


def sbom_document(subject: Subject, components: Sequence[Component]) -> str:
    """Return the document of a subject and its components as JSON.

    What was only present in training has the scope ``excluded``. Raises `ExtraMissing`.
    """
    try:
        from cyclonedx.model.bom import Bom
        from cyclonedx.model.component import Component as CycloneComponent
        from cyclonedx.model.component import ComponentType
        from cyclonedx.output.json import JsonV1Dot6
    except ImportError as error:
        raise missing_extra("a document of CycloneDX", "trust", error) from None
    own = _subject(subject)
    bom = Bom(serial_number=_serial_number(subject, components))
    bom.metadata.component = own
    tool = CycloneComponent(name="lading", version=lading.__version__, type=ComponentType.APPLICATION)
    bom.metadata.tools.components.add(tool)
    listed = [_component(component) for component in components]
    bom.components.update(listed)
    bom.register_dependency(own, listed)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    # The library writes the time at which it runs; the schema asks for none.
    document["metadata"].pop("timestamp", None)
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read_sbom(text: str, where: str = "SBOM") -> tuple[Subject, tuple[Component, ...]]:
    """Return the subject and the components with a package URL in any CycloneDX document in JSON.

    Raises `InvalidSetting` for other JSON.
    """
    if len(text) > MAX_SBOM_BYTES:
        raise InvalidSetting(where, expected=f"at most {MAX_SBOM_BYTES:,} bytes", found=f"{len(text):,}")
    try:
        document = msgspec.json.decode(text, type=_Document)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidSetting(where, expected="CycloneDX as JSON", found=str(error)) from None
    components: list[Component] = []
    for each in _flat(document.components):
        components += _read_component(each)
    own = document.metadata.component or _Listed(name="document")
    digest = next((each.value for each in own.properties if each.name == "lading:digest"), "")
    subject = Subject(kind="document", name=own.name, version=own.version or "", digest=digest)
    return subject, tuple(sorted(set(components)))


def purl_of(component: Component) -> PackageURL:
    """Return the package URL of a component: ``pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12``."""
    from packageurl import PackageURL

    version = component.version or None
    family, _, release = component.ecosystem.partition(":")
    if family == PYPI:
        return PackageURL("pypi", name=component.name, version=version)
    if family not in _DPKG:
        return PackageURL("generic", name=component.name, version=version)
    upstream = component.source if component.source != component.name else ""
    if component.source_version and component.source_version != component.version:
        upstream = f"{component.source or component.name}@{component.source_version}"
    qualifiers = {"arch": component.architecture, "upstream": upstream}
    qualifiers["distro"] = f"{family.lower()}-{release}" if release else ""
    stated = {key: value for key, value in qualifiers.items() if value}
    return PackageURL(
        "deb", namespace=family.lower(), name=component.name, version=version, qualifiers=stated
    )


class _Named(msgspec.Struct):
    name: str
    value: str = ""


class _Listed(msgspec.Struct):
    name: str = ""
    version: str | None = None
    purl: str | None = None
    scope: str | None = None
    properties: list[_Named] = []
    components: list[_Listed] = []


class _Metadata(msgspec.Struct):
    component: _Listed | None = None


class _Document(msgspec.Struct, rename={"form": "bomFormat"}):
    form: Literal["CycloneDX"]
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    components: list[_Listed] = []


def _flat(components: Iterable[_Listed]) -> Iterable[_Listed]:
    for component in components:
        yield component
        yield from _flat(component.components)


def _read_component(listed: _Listed) -> list[Component]:
    from packageurl import PackageURL

    if not listed.purl:
        return []
    try:
        purl = PackageURL.from_string(listed.purl)
    except ValueError:
        return []
    qualifiers: dict[str, Any] = purl.qualifiers if isinstance(purl.qualifiers, dict) else {}
    family = (
        (purl.namespace or DEBIAN).capitalize() if purl.type == "deb" else _KINDS.get(purl.type, purl.type)
    )
    release = str(qualifiers.get("distro", "")).rpartition("-")[2]
    source, _, source_version = str(qualifiers.get("upstream", "")).partition("@")
    return [
        Component(
            ecosystem=f"{family}:{release}" if family in _DPKG and release else family,
            name=purl.name,
            version=purl.version or "",
            source=source,
            source_version=source_version,
            architecture=str(qualifiers.get("arch", "")),
            part="training" if listed.scope == "excluded" else "runs",
        )
    ]


def _subject(subject: Subject) -> CycloneComponent:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component as CycloneComponent
    from cyclonedx.model.component import ComponentType

    kinds = {"bundle": ComponentType.MACHINE_LEARNING_MODEL, "image": ComponentType.CONTAINER}
    stated = [
        ("lading:digest", subject.digest),
        ("lading:purpose", subject.purpose),
        ("lading:owner", subject.owner),
        *(("lading:dataset", dataset) for dataset in subject.datasets),
    ]
    digest = subject.digest.removeprefix("sha256:")
    return CycloneComponent(
        name=subject.name,
        version=subject.version or None,
        type=kinds.get(subject.kind, ComponentType.APPLICATION),
        bom_ref=subject.digest or subject.name,
        description=subject.description or None,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)] if digest else [],
        properties=_properties(stated),
    )


def _component(component: Component) -> CycloneComponent:
    from cyclonedx.model.component import Component as CycloneComponent
    from cyclonedx.model.component import ComponentScope, ComponentType

    purl = purl_of(component)
    is_system = component.ecosystem == GENERIC and component.name != "python"
    return CycloneComponent(
        name=component.name,
        version=component.version or None,
        type=ComponentType.OPERATING_SYSTEM if is_system else ComponentType.LIBRARY,
        bom_ref=purl.to_string() + ("#training" if component.part == "training" else ""),
        purl=purl,
        scope=ComponentScope.EXCLUDED if component.part == "training" else ComponentScope.REQUIRED,
        hashes=_hashes(component.hashes),
    )


def _hashes(hashes: Iterable[str]) -> list[HashType]:
    from cyclonedx.model import HashAlgorithm, HashType

    return [
        HashType(alg=HashAlgorithm.SHA_256, content=value.removeprefix("sha256:"))
        for value in hashes
        if value.startswith("sha256:")
    ]


def _properties(stated: Iterable[tuple[str, str]]) -> list[Property]:
    from cyclonedx.model import Property

    return [Property(name=name, value=value) for name, value in stated if value]


def _serial_number(subject: Subject, components: Sequence[Component]) -> uuid.UUID:
    content = msgspec.json.encode([subject, list(components), lading.__version__]).decode()
    return uuid.uuid5(uuid.NAMESPACE_URL, f"https://cyclonedx.org/{content}")
