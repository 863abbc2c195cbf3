"""Wheels of a few hundred bytes, made by hand, so that environments are built without a network."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lading.bundle.environment_lock import EnvironmentLock, Pin, lock_of


def write_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    requires: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
    scripts: Mapping[str, str] | None = None,
    metadata_version: str | None = None,
) -> Pin:
    """Write a wheel of pure Python whose module states its version, and return its pin."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    requirements = "".join(f"Requires-Dist: {line}\n" for line in requires)
    contents = {
        f"{module}/__init__.py": f'version = "{version}"\n',
        **(files or {}),
        f"{info}/METADATA": (
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {metadata_version or version}\n{requirements}"
        ),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if scripts:
        entries = "".join(f"{script} = {entry}\n" for script, entry in scripts.items())
        contents[f"{info}/entry_points.txt"] = f"[console_scripts]\n{entries}"
    record = "".join(f"{path},{_hash(text)},{len(text.encode())}\n" for path, text in contents.items())
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, text in contents.items():
            # A time of its own, so that the same contents are the same wheel.
            archive.writestr(zipfile.ZipInfo(entry), text)
    return Pin(name, version, (f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}",))


def tiny_lock(folder: Path, *names: str) -> EnvironmentLock:
    """Write a wheel for each name, and return the lock of them all."""
    return lock_of([write_wheel(folder, name) for name in names])


def _hash(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"sha256={digest}"
