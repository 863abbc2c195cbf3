"""Builds an image from a base image and bundles: each bundle is one more layer, the same blob as in stores.

Runs nothing and needs no container engine. The same base and bundles give the same digest on any machine,
because no time, host or path goes in. Which bundles go into an image is up to the caller.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from lading.bundle.environment_lock import EnvironmentLock
from lading.errors import DestinationExists, EnvironmentPythonMissing, ImageNotFound, UsageError
from lading.image import (
    CONFIG,
    EPOCH,
    LAYER,
    Blob,
    Descriptor,
    Index,
    Manifest,
    Origin,
    Source,
    Target,
    canonical,
    environment_of,
    oci_type,
    read_config,
    read_index,
    read_manifest,
)
from lading.image.attestation_layer import attestation_layer
from lading.image.environments import EnvironmentLayer, environment_layer
from lading.image.interpreter import ImagePython, find_python_of_lading
from lading.image.labels import (
    BUNDLES,
    BundleEntry,
    EnvironmentEntry,
    bundle_labels,
    bundles_in,
    environments_in,
)
from lading.image.layers import Layer
from lading.oci import INDEX, MANIFEST, Document, digest_of

USER = "65532:65532"
"""The user `nonroot` of distroless images, who owns no files."""

ENVIRONMENT = {"LADING_HOST": "0.0.0.0"}  # noqa: S104 - a container's own network
IMAGE_VARIABLE = "LADING_IMAGE"
_PARALLEL_UPLOADS = 4


@dataclass(frozen=True, slots=True)
class BundleLayer:
    """A bundle as a layer of an image: its entry in the labels, and the function that writes its tar.

    One that runs in Python has the lock of its environment, which becomes a layer of its own; what was
    ``attested`` about it becomes a file beside it.
    """

    entry: BundleEntry
    size_bytes: int
    write: Callable[[BinaryIO], object]
    origin: Origin | None = None
    lock: EnvironmentLock | None = None
    attested: tuple[str, ...] = ()

    @property
    def blob(self) -> Blob:
        """The layer as a blob."""
        return Blob(Descriptor(LAYER, self.entry.blob, self.size_bytes), self.write, self.origin)


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """An image that was written. ``bytes_sent`` counts layers, configurations and manifests."""

    image: str
    digest: str
    platforms: dict[str, str]
    bundles: list[BundleEntry]
    environments: list[EnvironmentEntry]
    bytes_sent: int


def build(
    base: Source,
    bundles: Sequence[BundleLayer],
    target: Target,
    *,
    platforms: Sequence[str] = (),
    wheels: Path | None = None,
) -> Built:
    """Write the base with the bundles on top to `target`, for `platforms` or every platform of the base.

    Environments are built from a folder of `wheels`, by default from the package index that pip is configured
    with. Raises `ImageNotFound` for a platform that the base does not have, `DestinationExists` if two
    bundles have the same name, `EnvironmentPythonMissing` if the base's Python is not that of a bundle, and
    what `environment_layer` raises.
    """
    root = base.root()
    index = read_index(root, base.where)
    with ThreadPoolExecutor(_PARALLEL_UPLOADS) as pool:
        work = _Build(base, target, bundles, pool, wheels)
        if index is None:
            image = work.put_platform(root, platforms)
            sent = work.bytes_sent + target.name(image.data, MANIFEST)
            return Built(
                image=target.where,
                digest=digest_of(image.data),
                platforms={image.platform: digest_of(image.data)},
                bundles=image.bundles,
                environments=image.environments,
                bytes_sent=sent,
            )
        return work.put_index(index, platforms)


@dataclass(frozen=True, slots=True)
class _PlatformImage:
    """The image of one platform: its manifest, which is not yet written, and the bundles in it."""

    data: bytes
    platform: str
    bundles: list[BundleEntry]
    environments: list[EnvironmentEntry]


class _Build:
    """One build in progress, with the bytes that it has sent so far."""

    def __init__(
        self,
        base: Source,
        target: Target,
        bundles: Sequence[BundleLayer],
        pool: ThreadPoolExecutor,
        wheels: Path | None,
    ) -> None:
        self._base = base
        self._wheels = wheels
        self._target = target
        self._bundles = bundles
        self._pool = pool
        self._put_digests: set[str] = set()
        self.bytes_sent = 0

    def put_platform(self, document: Document, platforms: Sequence[str] = ()) -> _PlatformImage:
        """Put the layers and the configuration of one platform, and return its manifest."""
        manifest = read_manifest(document, self._base.where)
        config = read_config(self._base, manifest)
        check_platforms([config], platforms, self._base.where)
        # The base may hold bundles itself: an image can be built on.
        entries = [*bundles_in(config), *(bundle.entry for bundle in self._bundles)]
        _check_names(entries, self._target.where)
        with contextlib.ExitStack() as stack:
            added = self._environment_layers(manifest, config, stack)
            environments = [*environments_in(config), *(layer.entry for layer in added)]
            # With the digest of the base, as the annotation `org.opencontainers.image.base.digest` has it.
            labels = bundle_labels(entries, document.digest, environments)
            attested = self._attestation_layer(stack)
            steps = _Steps(added, self._bundles, attested)
            data = canonical(_config(config, steps, labels, document.digest))
            descriptor = Descriptor(CONFIG, digest_of(data), len(data))
            layers = [_as_oci(layer, self._base.where) for layer in manifest.layers]
            new = [*(layer.layer.blob for layer in added), *(bundle.blob for bundle in self._bundles)]
            new += [attested.blob] if attested is not None else []
            config_blob = Blob(descriptor, lambda out: out.write(data))
            self._put([*map(self._base.blob, layers), *new, config_blob])
        built = Manifest(
            schema_version=2,
            media_type=MANIFEST,
            config=descriptor,
            layers=[*layers, *(blob.descriptor for blob in new)],
            annotations=labels,
        )
        return _PlatformImage(canonical(built), platform_name(config), entries, environments)

    def _environment_layers(
        self, manifest: Manifest, config: dict[str, Any], stack: contextlib.ExitStack
    ) -> list[EnvironmentLayer]:
        """Return a layer for each environment that the bundles need and the base does not hold already."""
        needed = {bundle.lock.digest: bundle.lock for bundle in self._bundles if bundle.lock is not None}
        if not needed:
            return []
        held = environments_in(config)
        # Diff ids, as bundles and environments state them: their layers have no program of lading.
        skip = {bundle.blob for bundle in bundles_in(config)} | {entry.blob for entry in held}
        python = find_python_of_lading(self._base, manifest, config, skip)
        for bundle in self._bundles:
            _check_python(bundle.entry, python, self._base.where)
        # The base may have been built with a bundle of the same lock.
        for entry in held:
            needed.pop(entry.lock, None)
        layers = []
        for lock in needed.values():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lading-")))
            architecture = config["architecture"]
            layers.append(
                environment_layer(lock, python, architecture=architecture, folder=folder, wheels=self._wheels)
            )
        return layers

    def _attestation_layer(self, stack: contextlib.ExitStack) -> Layer | None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lading-")))
        return attestation_layer({each.entry.name: each.attested for each in self._bundles}, folder)

    def put_index(self, index: Index, platforms: Sequence[str]) -> Built:
        """Put every requested platform of the index, then the index of them."""
        # Entries without a platform are signatures and attestations of the base's own bytes, not images.
        images = [entry for entry in index.manifests if entry.platform and not _is_attestation(entry)]
        check_platforms([entry.platform or {} for entry in images], platforms, self._base.where)
        requested = [entry for entry in images if _is_requested(entry.platform or {}, platforms)]
        entries, built = [], []
        for entry in requested:
            image = self.put_platform(self._base.document(entry.digest))
            built.append(image)
            digest = digest_of(image.data)
            entries.append(Descriptor(MANIFEST, digest, len(image.data), platform=entry.platform))
            # A manifest of an index is written before it: a registry may refuse an index of unknown ones.
            if len(requested) > 1:
                self.bytes_sent += self._target.put_document(image.data, MANIFEST)
        # A single platform needs no index: the name refers to its manifest.
        if len(requested) == 1:
            data, media_type = built[0].data, MANIFEST
        else:
            # The layers of environments differ between platforms: those are in the labels of each.
            labels = bundle_labels(built[0].bundles, "")
            data = canonical(Index(schema_version=2, media_type=INDEX, manifests=entries, annotations=labels))
            media_type = INDEX
        self.bytes_sent += self._target.name(data, media_type)
        return Built(
            image=self._target.where,
            digest=digest_of(data),
            platforms={image.platform: entry.digest for image, entry in zip(built, entries, strict=True)},
            bundles=built[0].bundles,
            environments=[entry for image in built for entry in image.environments],
            bytes_sent=self.bytes_sent,
        )

    def _put(self, blobs: Sequence[Blob]) -> None:
        """Put the blobs in parallel; layers that platforms share are put once."""
        # By digest: a base may have the same layer twice, such as the empty one.
        new = {blob.descriptor.digest: blob for blob in blobs}
        for digest in self._put_digests:
            new.pop(digest, None)
        self.bytes_sent += sum(self._pool.map(self._target.put, new.values()))
        self._put_digests.update(new)


def platform_name(platform: dict[str, Any]) -> str:
    """Return a platform, or a configuration that states one, as ``os/architecture[/variant]``."""
    parts = (platform.get("os", "linux"), platform.get("architecture", ""), platform.get("variant", ""))
    return "/".join(part for part in parts if part)


def parse_platform(text: str) -> dict[str, str]:
    """Parse ``os/architecture[/variant]`` into the keys of a configuration. Raises `UsageError`."""
    parts = text.split("/")
    if len(parts) not in {2, 3} or not all(parts):
        raise UsageError("platform", expected="`os/architecture`, as in `linux/amd64`", found=f"`{text}`")
    return dict(zip(("os", "architecture", "variant"), parts, strict=False))


def matches_platform(platform: dict[str, Any], requested: str) -> bool:
    """Return whether a platform is the requested one; a variant counts only if one is requested."""
    # Lading runs on Linux alone; an entry that names no system is taken for one of it.
    return {"os": "linux", **platform}.items() >= parse_platform(requested).items()


def check_platforms(available: Sequence[dict[str, Any]], requested: Sequence[str], where: str) -> None:
    """Raise `ImageNotFound` unless a base has every requested platform, and at least one."""
    missing = [
        name for name in requested if not any(matches_platform(platform, name) for platform in available)
    ]
    if missing or not available:
        actual = ", ".join(f"`{platform_name(platform)}`" for platform in available) or "none"
        expected = f"platform `{', '.join(missing) or 'any'}`"
        raise ImageNotFound(f"base `{where}`", expected=expected, found=actual)


def _is_attestation(entry: Descriptor) -> bool:
    return (entry.platform or {}).get("os") == "unknown"


def _is_requested(platform: dict[str, Any], platforms: Sequence[str]) -> bool:
    return not platforms or any(matches_platform(platform, name) for name in platforms)


@dataclass(frozen=True, slots=True)
class _Steps:
    """The layers that are added: environments below bundles, and above them what was attested."""

    environments: Sequence[EnvironmentLayer]
    bundles: Sequence[BundleLayer]
    attested: Layer | None


def _config(config: dict[str, Any], steps: _Steps, labels: dict[str, str], base: str) -> dict[str, Any]:
    """Return the base's configuration with the bundles added; the time of creation stays the base's."""
    # Not the time of the build: the same bundles on the same base are the same image.
    created = config.get("created") or EPOCH
    before = config.get("config") or {}
    # The base's own id wins: it names the runtime, which a bundle does not change.
    variables = {IMAGE_VARIABLE: base, **environment_of(before), **ENVIRONMENT}
    # Environments below bundles: a new version of a model has the same layers up to its own.
    locks = [layer.entry for layer in steps.environments]
    added = [(f"environment {entry.lock}", entry.lock, entry.blob) for entry in locks]
    added += [(bundle.entry.name, bundle.entry.digest, bundle.entry.blob) for bundle in steps.bundles]
    if steps.attested is not None:
        added.append(("attestations", "attestations of the bundles", steps.attested.diff_id))
    history = [
        {"created": created, "created_by": f"lading image build {name}", "comment": digest}
        for name, digest, _ in added
    ]
    diff_ids = [*config["rootfs"]["diff_ids"], *(blob for _, _, blob in added)]
    return {
        **config,
        "created": created,
        "config": run_config(before, variables, labels, ports=before.get("ExposedPorts") or {}),
        "history": [*(config.get("history") or ()), *history],
        "rootfs": {**config["rootfs"], "diff_ids": diff_ids},
    }


def run_config(
    before: dict[str, Any], variables: dict[str, str], labels: dict[str, str], *, ports: dict[str, Any]
) -> dict[str, Any]:
    """Return a run configuration that runs `lading serve`, and otherwise is as `before`."""
    return {
        **before,
        "Entrypoint": ["lading"],
        "Cmd": ["serve"],
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "ExposedPorts": {**ports, "8000/tcp": {}, "8001/tcp": {}},
        "Labels": {**(before.get("Labels") or {}), **labels},
        "StopSignal": "SIGTERM",  # On which the server drains.
        "User": USER,
    }


def _check_python(bundle: BundleEntry, python: ImagePython, where: str) -> None:
    if bundle.python in ("", python.version):
        return
    raise EnvironmentPythonMissing(
        f"environment of `{bundle.name}` on base `{where}`",
        expected=f"Python {bundle.python}",
        found=f"Python {python.version}",
        hint=f"choose a runtime image with Python {bundle.python}, or pack under Python {python.version}",
    )


def _as_oci(layer: Descriptor, where: str) -> Descriptor:
    return Descriptor(oci_type(layer.media_type, where), layer.digest, layer.size)


def _check_names(bundles: Sequence[BundleEntry], where: str) -> None:
    # The folder of a bundle in the image is named by its model.
    names = [entry.name for entry in bundles]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise DestinationExists(
            f"image `{where}`, folder `/lading/bundles/{duplicate}`",
            expected="one bundle of this name",
            found="two",
            hint=f"an image holds one version of a model; the base's label {BUNDLES} lists those in it",
        )
