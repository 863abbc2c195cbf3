"""An image from a base image and bundles: each bundle is one more layer, the very blob that stores hold.

Runs nothing and needs no container engine. The same base and bundles give the same digest, on any machine:
no time, host or path goes in. Which bundle an image should have is the caller's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec

from lading.errors import DestinationExists, ImageNotFound, UsageError
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
    oci_type,
    read_config,
    read_index,
    read_manifest,
)
from lading.image.labels import BUNDLES, BundleEntry, bundle_labels, bundles_in
from lading.oci import INDEX, MANIFEST, Document, digest_of

USER = "65532:65532"
"""Nobody in particular, as distroless images have it: no files are this user's."""

ENVIRONMENT = {"LADING_HOST": "0.0.0.0"}  # noqa: S104 - a container's own network
IMAGE_VARIABLE = "LADING_IMAGE"
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class BundleLayer:
    """A bundle to put into an image: what is said of it, and what writes its tar."""

    entry: BundleEntry
    size_bytes: int
    write: Callable[[BinaryIO], object]
    origin: Origin | None = None

    @property
    def blob(self) -> Blob:
        """Return the layer."""
        return Blob(Descriptor(LAYER, self.entry.blob, self.size_bytes), self.write, self.origin)


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """An image that was written. ``bytes_sent`` counts layers, configurations and manifests."""

    image: str
    digest: str
    platforms: dict[str, str]
    bundles: list[BundleEntry]
    bytes_sent: int


def build(
    base: Source, parts: Sequence[BundleLayer], target: Target, *, platforms: Sequence[str] = ()
) -> Built:
    """Write the base with the bundles on top to `target`, for each platform of the base or those named.

    Raises `ImageNotFound` for a platform that the base does not have, and `DestinationExists` where two
    bundles have one name.
    """
    root = base.root()
    index = read_index(root, base.where)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        work = _Work(base, target, parts, pool)
        if index is None:
            image = work.platform(root, platforms)
            sent = work.sent + target.name(image.data, MANIFEST)
            return Built(
                image=target.where,
                digest=digest_of(image.data),
                platforms={image.platform: digest_of(image.data)},
                bundles=image.bundles,
                bytes_sent=sent,
            )
        return work.index(index, platforms)


@dataclass(frozen=True, slots=True)
class _Image:
    data: bytes
    platform: str
    bundles: list[BundleEntry]


class _Work:
    """One build under way, with the bytes that it has sent so far."""

    def __init__(
        self, base: Source, target: Target, parts: Sequence[BundleLayer], pool: ThreadPoolExecutor
    ) -> None:
        self._base = base
        self._target = target
        self._parts = parts
        self._pool = pool
        self._done: set[str] = set()
        self.sent = 0

    def platform(self, document: Document, wanted: Sequence[str] = ()) -> _Image:
        """Put layers and configuration of one platform; return the manifest, which is not yet written."""
        manifest = read_manifest(document, self._base.where)
        config = read_config(self._base, manifest)
        check_platforms([config], wanted, self._base.where)
        bundles = [*bundles_in(config), *(part.entry for part in self._parts)]
        _check_names(bundles, self._target.where)
        labels = bundle_labels(bundles, document.digest)
        data = canonical(_config(config, self._parts, labels, document.digest))
        described = Descriptor(CONFIG, digest_of(data), len(data))
        layers = [_as_oci(layer, self._base.where) for layer in manifest.layers]
        blobs = [self._base.blob(layer) for layer in layers] + [part.blob for part in self._parts]
        self._put([*blobs, Blob(described, lambda out: out.write(data))])
        made = Manifest(
            schema_version=2,
            media_type=MANIFEST,
            config=described,
            layers=[*layers, *(part.blob.descriptor for part in self._parts)],
            annotations=labels,
        )
        return _Image(canonical(made), platform_of(config), bundles)

    def index(self, index: Index, platforms: Sequence[str]) -> Built:
        """Write every platform that is wanted, then the index over them."""
        # What has no platform is no image: signatures and attestations of the base's own bytes.
        images = [one for one in index.manifests if one.platform and one.platform.get("os") != "unknown"]
        check_platforms([one.platform or {} for one in images], platforms, self._base.where)
        wanted = [one for one in images if _is_wanted(one.platform or {}, platforms)]
        entries, made = [], []
        for one in wanted:
            image = self.platform(self._base.document(one.digest))
            made.append(image)
            digest = digest_of(image.data)
            entries.append(Descriptor(MANIFEST, digest, len(image.data), platform=one.platform))
            if len(wanted) > 1:
                self.sent += self._target.put_document(image.data, MANIFEST)
        if len(wanted) == 1:
            data, kind = made[0].data, MANIFEST
        else:
            labels = bundle_labels(made[0].bundles, "")
            data = canonical(Index(schema_version=2, media_type=INDEX, manifests=entries, annotations=labels))
            kind = INDEX
        self.sent += self._target.name(data, kind)
        return Built(
            image=self._target.where,
            digest=digest_of(data),
            platforms={one.platform: entry.digest for one, entry in zip(made, entries, strict=True)},
            bundles=made[0].bundles,
            bytes_sent=self.sent,
        )

    def _put(self, blobs: Sequence[Blob]) -> None:
        """Put the blobs, several at once; layers that platforms share go once."""
        new = {blob.descriptor.digest: blob for blob in blobs if blob.descriptor.digest not in self._done}
        self.sent += sum(self._pool.map(self._target.put, new.values()))
        self._done.update(new)


def platform_of(said: dict[str, Any]) -> str:
    """Write a platform as ``os/architecture[/variant]``."""
    parts = (said.get("os", "linux"), said.get("architecture", ""), said.get("variant", ""))
    return "/".join(part for part in parts if part)


def read_platform(text: str) -> dict[str, str]:
    """Read ``os/architecture[/variant]`` as a configuration says it. Raises `UsageError`."""
    parts = text.split("/")
    if len(parts) not in {2, 3} or not all(parts):
        raise UsageError("platform", expected="`os/architecture`, as in `linux/amd64`", found=f"`{text}`")
    return dict(zip(("os", "architecture", "variant"), parts, strict=False))


def fits(said: dict[str, Any], wanted: str) -> bool:
    """Return whether an image's platform is the one wanted; its variant counts only where one is wanted."""
    return {"os": "linux", **said}.items() >= read_platform(wanted).items()


def check_platforms(there: Sequence[dict[str, Any]], wanted: Sequence[str], where: str) -> None:
    """Raise `ImageNotFound` where a base has no platform at all, or not each of those that are wanted."""
    missing = [one for one in wanted if not any(fits(said, one) for said in there)]
    if missing or not there:
        found = ", ".join(f"`{platform_of(said)}`" for said in there) or "none"
        expected = f"platform `{', '.join(missing) or 'any'}`"
        raise ImageNotFound(f"base `{where}`", expected=expected, found=found)


def _is_wanted(said: dict[str, Any], platforms: Sequence[str]) -> bool:
    return not platforms or any(fits(said, one) for one in platforms)


def _config(
    config: dict[str, Any], parts: Sequence[BundleLayer], labels: dict[str, str], base: str
) -> dict[str, Any]:
    """Say what the image runs; all else stays as the base has it, its time of making too."""
    created = config.get("created") or EPOCH
    ran = config.get("config") or {}
    variables = {IMAGE_VARIABLE: base, **variables_of(ran), **ENVIRONMENT}
    history = [
        {
            "created": created,
            "created_by": f"lading image build {part.entry.name}",
            "comment": part.entry.digest,
        }
        for part in parts
    ]
    rootfs = {**config["rootfs"], "diff_ids": [*config["rootfs"]["diff_ids"], *(p.entry.blob for p in parts)]}
    return {
        **config,
        "created": created,
        "config": run_config(ran, variables, labels, ports=ran.get("ExposedPorts") or {}),
        "history": [*(config.get("history") or ()), *history],
        "rootfs": rootfs,
    }


def variables_of(ran: dict[str, Any]) -> dict[str, str]:
    """Return the environment variables of an image's run configuration."""
    return dict(one.partition("=")[::2] for one in ran.get("Env") or ())


def run_config(
    ran: dict[str, Any], variables: dict[str, str], labels: dict[str, str], *, ports: dict[str, Any]
) -> dict[str, Any]:
    """Have an image run `lading serve`; what `ran`, its configuration so far, says beside that stays."""
    return {
        **ran,
        "Entrypoint": ["lading"],
        "Cmd": ["serve"],
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "ExposedPorts": {**ports, "8000/tcp": {}, "8001/tcp": {}},
        "Labels": {**(ran.get("Labels") or {}), **labels},
        "StopSignal": "SIGTERM",
        "User": USER,
    }


def _as_oci(layer: Descriptor, where: str) -> Descriptor:
    return Descriptor(oci_type(layer.media_type, where), layer.digest, layer.size)


def _check_names(bundles: Sequence[BundleEntry], where: str) -> None:
    names = [one.name for one in bundles]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DestinationExists(
            f"image `{where}`, folder `/lading/bundles/{twice}`",
            expected="one bundle of this name",
            found="two",
            hint=f"an image holds one version of a model; {BUNDLES} of the base says what is in it",
        )
