"""An image in a docker archive: the tar that ``docker save`` writes and ``docker load`` reads.

Written as Docker does since version 25, as an OCI layout with a ``manifest.json`` beside it; the older form
can be read too. An archive holds one platform.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from lading.blobs.os_errors import destination_errors
from lading.errors import DestinationExists, ImageInvalid, ImageNotFound, NotSupported
from lading.image import CONFIG, LAYER, LAYER_GZIP, LAYER_ZSTD, Blob, Descriptor, Manifest, canonical
from lading.image.layers import LayerFile, files_layer
from lading.image.layout import LayoutImage
from lading.image.verifying_reader import damaged, verifying_reader
from lading.oci import INDEX, MANIFEST, Document, digest_of

# Every archive names its configuration by its digest; only those of the newer form name layers so too.
_DIGEST = re.compile(r"(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?")
_MEDIA_TYPES = {b"\x1f\x8b": LAYER_GZIP, b"\x28\xb5": LAYER_ZSTD}


class DockerArchive:
    """The image `name` of a docker archive, or its only one: a `Source`."""

    def __init__(self, path: Path, name: str | None) -> None:
        self._path = path
        self._name = name
        self._members: dict[str, str] = {}
        self._root: Document | None = None

    @property
    def where(self) -> str:
        """The name as skopeo and podman write it."""
        return f"docker-archive:{self._path}" + (f":{self._name}" if self._name else "")

    def root(self) -> Document:
        """Return a manifest for the archive, which has none; its layers are hashed once for that."""
        if self._root is None:
            self._root = self._read()
        return self._root

    def document(self, digest: str) -> Document:
        """Return the only manifest."""
        if self.root().digest != digest:
            raise ImageNotFound(f"image `{self.where}`", expected=f"`{digest}`", found="another manifest")
        return self.root()

    def open(self, digest: str) -> BinaryIO:
        """Open a layer or the configuration as a temporary file, which is removed when it is closed."""
        self.root()
        # Copied: a tar has one position, and a caller may read several layers at once.
        out = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        with self._opened() as archive:
            shutil.copyfileobj(self._member(archive, self._members[digest]), out, 1 << 20)
        out.seek(0)
        return verifying_reader(out, digest, f"`{self._members[digest]}` of `{self.where}`")

    def blob(self, descriptor: Descriptor) -> Blob:
        """Return a layer or the configuration to put elsewhere."""

        def write(out: BinaryIO) -> None:
            with self.open(descriptor.digest) as source:
                shutil.copyfileobj(source, out, 1 << 20)

        return Blob(descriptor, write)

    def close(self) -> None:
        """Do nothing: the archive is closed after each use."""

    def _read(self) -> Document:
        with self._opened() as archive:
            entry = self._entry(archive)
            config = self._describe(archive, entry["Config"], CONFIG)
            layers = [self._describe(archive, name, None) for name in entry["Layers"]]
        manifest = Manifest(schema_version=2, media_type=MANIFEST, config=config, layers=layers)
        data = canonical(manifest)
        return Document(data, MANIFEST, digest_of(data))

    def _entry(self, archive: tarfile.TarFile) -> dict[str, Any]:
        try:
            entries = json.loads(self._member(archive, "manifest.json").read())
            matching = [
                # `RepoTags` is null for an image that was saved by its id.
                entry
                for entry in entries
                if self._name is None or self._name in (entry["RepoTags"] or ())
            ]
            tags = ", ".join(f"`{tag}`" for entry in entries for tag in entry["RepoTags"] or ())
        except (ValueError, TypeError, KeyError) as error:
            where = f"`manifest.json` of `{self.where}`"
            raise ImageInvalid(where, expected="a list of images", found=str(error)) from error
        if len(matching) != 1:
            expected = "one image, or its name after a `:`"
            raise ImageNotFound(f"image `{self.where}`", expected=expected, found=tags or "no name")
        return dict(matching[0])

    def _describe(self, archive: tarfile.TarFile, name: str, media_type: str | None) -> Descriptor:
        file, hasher, size, magic = self._member(archive, name), hashlib.sha256(), 0, b""
        while piece := file.read(1 << 20):
            magic = magic or piece[:2]  # The archive does not say how a layer is compressed.
            hasher.update(piece)
            size += len(piece)
        digest = f"sha256:{hasher.hexdigest()}"
        # Docker names files by their sha256; other tools name folders by ids, which are no digests.
        stated = _DIGEST.fullmatch(name)
        if stated is not None and f"sha256:{stated[1]}" != digest:
            raise damaged(f"`{name}` of `{self.where}`", f"sha256:{stated[1]}", digest)
        self._members[digest] = name
        return Descriptor(media_type or _MEDIA_TYPES.get(magic, LAYER), digest, size)

    def _opened(self) -> tarfile.TarFile:
        try:
            return tarfile.open(self._path)
        except FileNotFoundError:
            where = f"image `{self.where}`"
            raise ImageNotFound(where, expected="an existing file", found="none") from None
        except (tarfile.TarError, OSError) as error:
            where = f"image `{self.where}`"
            raise ImageInvalid(where, expected="a docker archive", found=str(error)) from error

    def _member(self, archive: tarfile.TarFile, name: str) -> Any:
        try:
            file = archive.extractfile(name)
        except (KeyError, tarfile.TarError):
            file = None
        if file is None:
            where = f"image `{self.where}`"
            raise ImageInvalid(where, expected=f"a file `{name}` in it", found="none")
        return file


class DockerArchiveWriter:
    """A docker archive to write: a `Target`. The file appears when the image is complete."""

    def __init__(self, path: Path, name: str | None) -> None:
        self._path = path
        self._name = name
        if path.exists():
            hint = "remove it first, or use another name"
            raise DestinationExists(f"`{path}`", expected="no file", found="one", hint=hint)
        self._folder = tempfile.TemporaryDirectory(prefix="lading-")
        self._layout = LayoutImage(Path(self._folder.name), name)

    @property
    def where(self) -> str:
        """The name as skopeo and podman write it."""
        return f"docker-archive:{self._path}"

    def put(self, blob: Blob) -> int:
        """Store a layer or the configuration; return the bytes written."""
        return self._layout.put(blob)

    def put_document(self, data: bytes, media_type: str) -> int:
        """Store a manifest; return the bytes written."""
        return self._layout.put_document(data, media_type)

    def name(self, data: bytes, media_type: str) -> int:
        """Write the archive; return the bytes written. Raises `NotSupported` for several platforms."""
        if media_type == INDEX:
            raise NotSupported(
                f"docker archive `{self._path}`",
                expected="one platform",
                found="an index of several",
                hint="choose one with `--platform linux/amd64`, or write `oci:FOLDER`",
            )
        sent = self._layout.name(data, media_type)
        folder = Path(self._folder.name)
        manifest = json.loads(data)
        # `docker load` reads this file; tools that know OCI layouts read `index.json` beside it.
        entry = {
            "Config": _blob_name(manifest["config"]["digest"]),
            "RepoTags": [self._name] if self._name else None,
            "Layers": [_blob_name(layer["digest"]) for layer in manifest["layers"]],
        }
        files = {
            str(path.relative_to(folder)): LayerFile(path) for path in folder.rglob("*") if path.is_file()
        }
        files["manifest.json"] = LayerFile(canonical([entry]))
        # A random name, so that another process that writes the same archive has a file of its own.
        temporary = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        try:
            with destination_errors(f"image `{self.where}`"):
                files_layer(files, temporary, compress=False)
                temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)
        return sent

    def close(self) -> None:
        """Remove the temporary files."""
        self._folder.cleanup()


def _blob_name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
