"""The environment of models in Python as a layer of an image: from the wheels of its lock, by their hashes.

Built without a container engine, without an installer, and without running anything of the wheels. The same
lock gives the same bytes for the same Python on any machine: no time, host or path of it goes in, and no
bytecode. What the layer holds is checked as the environments of hosts are.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lading.bundle.environment_lock import EnvironmentLock
from lading.errors import EnvironmentFailed, ExtraMissing
from lading.image.interpreter import ImagePython
from lading.image.labels import EnvironmentEntry
from lading.image.layers import Layer, LayerFile, files_layer
from lading.image.wheels import (
    LIBRARY_SCHEMES,
    Wheel,
    collect_wheels,
    download_options,
    is_library,
    is_metadata,
    is_of_this_machine,
    scheme_path,
    verified_files,
)
from lading.runtime.python.contents import find_difference, write_marker
from lading.runtime.python.environments import DEFAULT_TIMEOUT_S, environment_name
from lading.runtime.python.failures import known_reason, last_words
from lading.runtime.python.installers import PipSettings, pip_command, read_pip_settings, run_installer

FOLDER = "lading/environments"
"""Where a server in an image finds its environments (`lading.settings.ready_environments_folder`)."""
_PLATFORM_HINT = "a lock is for the platform that packed the bundle: name that one with `--platform`"


@dataclass(frozen=True, slots=True)
class EnvironmentLayer:
    """An environment as a layer of an image, and its entry in the labels."""

    entry: EnvironmentEntry
    layer: Layer


def environment_layer(
    lock: EnvironmentLock,
    python: ImagePython,
    *,
    architecture: str,
    folder: Path,
    wheels: Path | None = None,
) -> EnvironmentLayer:
    """Build the environment of a lock for an image's Python, in the empty `folder`, and return its layer.

    The wheels come from the package index that pip is configured with, or from the folder `wheels`. Raises
    `EnvironmentFailed`, and `ExtraMissing` without pip.
    """
    name = environment_name(lock, python.version)
    label = f"environment `{name[:12]}` for Python {python.version} on {architecture}"
    downloads, root = folder / "wheels", folder / name
    downloads.mkdir()
    _fetch(lock, downloads, label, python.version, architecture, wheels)
    site = root / "lib" / f"python{python.version}" / "site-packages"
    site.mkdir(parents=True)
    for wheel in collect_wheels(downloads, downloads, python=python.version, architecture=architecture):
        _install(wheel, root, site)
    # What hosts check when they open an environment is checked here too, before it is in any image.
    difference = find_difference(root, lock, python.version)
    if difference is not None:
        raise EnvironmentFailed(label, expected="what its lock names", found=difference)
    write_marker(root, lock)
    layer = files_layer(_files(root, python), folder / f"{name}.layer", compress=False)
    return EnvironmentLayer(
        EnvironmentEntry(lock=lock.digest, python=python.version, blob=layer.diff_id), layer
    )


def _fetch(
    lock: EnvironmentLock,
    downloads: Path,
    label: str,
    python: str,
    architecture: str,
    wheels: Path | None,
) -> None:
    """Fetch the wheels of the lock for the image's platform; pip takes none whose hash it does not name."""
    pip = pip_command()
    if pip is None:
        raise ExtraMissing(
            "`lading image build`",
            expected="pip to fetch wheels",
            found="none",
            hint="install pip where images are built: no image needs it",
        )
    requirements = downloads / "environment.lock"
    requirements.write_bytes(lock.to_bytes())
    settings = PipSettings() if wheels is not None else read_pip_settings()
    command = [*pip, *download_options(requirements, downloads, python, architecture)]
    # Very verbose: else pip does not say that it could not reach an index.
    command += ["-vv", "--require-hashes"]
    command += [] if wheels is None else ["--no-index", "--find-links", str(wheels.absolute())]
    done = run_installer(command, settings.for_pip(os.environ), timeout_s=DEFAULT_TIMEOUT_S)
    if done.code == 0:
        return
    reason = known_reason(done, wheels, DEFAULT_TIMEOUT_S)
    # Its own words may hold the address of an index, and so a password.
    if reason is None:
        raise EnvironmentFailed(label, expected="pip to fetch its wheels", found=last_words(done, settings))
    hint = reason.hint if is_of_this_machine(architecture) else _PLATFORM_HINT
    raise EnvironmentFailed(label, expected=reason.expected, found=reason.found, hint=hint)


def _install(wheel: Wheel, root: Path, site: Path) -> None:
    """Unpack a wheel as an installer does, with a RECORD of where its files went.

    Headers and scripts are left out, as nothing runs them; the programs among them stay.
    """
    rows, record = [], site
    for info, data in verified_files(wheel):
        path = _destination(info.filename, data, root, site)
        if path is None:
            continue
        # Beside the metadata: the name of that folder is the wheel's own.
        if is_metadata(info.filename, "METADATA"):
            record = path.with_name("RECORD")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        # The mode is in the upper half, if the wheel was made on Unix.
        runs = is_library(path.name) or bool(info.external_attr >> 16 & 0o111)
        path.chmod(0o755 if runs else 0o644)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append((os.path.relpath(path, site), f"sha256={digest}", str(len(data))))
    rows.append((os.path.relpath(record, site), "", ""))
    with record.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(sorted(rows))


def _destination(name: str, data: bytes, root: Path, site: Path) -> Path | None:
    """Return where a file of a wheel goes in an environment, or None if it is left out."""
    scheme, path = scheme_path(name)
    if scheme in LIBRARY_SCHEMES:
        return site / path
    # Some packages keep shared libraries there, such as those of MKL.
    if scheme == "data":
        return root / path
    # A script names the Python of the machine that installs it; a program does not.
    return root / "bin" / path if scheme == "scripts" and not data.startswith(b"#!") else None


def _files(root: Path, python: ImagePython) -> dict[str, LayerFile]:
    """Return the files of the environment in `root` by their paths in the image."""
    top = f"{FOLDER}/{root.name}"
    files = {f"{top}/{path.relative_to(root)}": _layer_file(path) for path in _paths(root)}
    # What makes it a virtual environment of the image's Python (PEP 405). A link, not a program of its own.
    home = PurePosixPath(python.path).parent
    settings = f"home = {home}\ninclude-system-site-packages = false\nversion = {python.version}\n"
    return {
        **files,
        f"{top}/pyvenv.cfg": LayerFile(settings.encode()),
        f"{top}/bin/python": LayerFile(b"", 0o777, link=python.path),
    }


def _paths(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_file())


def _layer_file(path: Path) -> LayerFile:
    return LayerFile(path, 0o755 if path.stat().st_mode & 0o111 else 0o644)
