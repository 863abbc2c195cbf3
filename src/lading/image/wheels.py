"""Wheels: fetched for a platform, checked, and laid out as the files of a layer, without running anything.

pip fetches them, with whatever index it is set up for here; unpacking is done here, because what pip
writes beside the files tells of the machine that it ran on.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import io
import os
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

import lading
from lading.errors import ExtraMissing, ImageInvalid, UsageError
from lading.image.layers import LayerFile

NEWEST_GLIBC = 41
OLDEST_GLIBC = 17
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "ppc64le", "s390x": "s390x"}
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[^\]]*\])?==[^\s;]+")


class Wheel(msgspec.Struct, frozen=True):
    """A wheel that goes into an image: what it is, exactly which one, and where it lies here."""

    name: str
    version: str
    sha256: str
    path: str

    @property
    def line(self) -> str:
        """Write it as a requirement that no other file meets."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


def gather(source: Path, folder: Path, *, python: str, architecture: str) -> list[Wheel]:
    """List the wheels of a folder, or fetch those that a requirements file pins into `folder`.

    Raises `UsageError` for a requirement without ``==``, and where pip cannot fetch it; with ``--hash`` in
    the file pip takes no other file than that one.
    """
    if source.is_dir():
        found = sorted(source.glob("*.whl"))
    else:
        _check_pinned(source)
        _download(source, folder, python, architecture)
        found = sorted(folder.glob("*.whl"))
    if not found:
        raise UsageError(f"wheels in `{source}`", expected="at least one", found="none")
    return [_described(path) for path in found]


def unpack(wheel: Wheel) -> dict[str, LayerFile]:
    """Read the files of a wheel by their names below ``site-packages``, each checked by its RECORD.

    Scripts, headers and data files are left out: nothing in an image starts them. Raises `ImageInvalid`.
    """
    files = {}
    with _opened(wheel) as archive:
        record = next((name for name in archive.namelist() if name.endswith(".dist-info/RECORD")), None)
        if record is None:
            raise ImageInvalid(f"wheel `{wheel.path}`", expected="a RECORD of its files", found="none")
        rows = csv.reader(io.StringIO(archive.read(record).decode()))
        digests = {row[0]: row[1] for row in rows if len(row) > 1}
        for info in archive.infolist():
            place = _place(info.filename)
            if info.is_dir() or place is None or info.filename == record:
                continue
            data = archive.read(info)
            _check(wheel, info.filename, data, digests.get(info.filename, ""))
            files[place] = LayerFile(data, 0o755 if place.endswith(".so") or ".so." in place else 0o644)
    return files


@contextlib.contextmanager
def _opened(wheel: Wheel) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(wheel.path) as archive:
            yield archive
    # What zipfile says of damage, of ways to compress that it does not know, and of encryption.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, csv.Error) as error:
        raise ImageInvalid(f"wheel `{wheel.path}`", expected="a wheel", found=str(error)) from error


def own_files() -> dict[str, LayerFile]:
    """Read the files of the lading that runs here, with the little metadata that says its version."""
    folder = Path(lading.__file__).parent
    files = {
        f"lading/{path.relative_to(folder)}": LayerFile(path)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    said = f"Metadata-Version: 2.1\nName: lading\nVersion: {lading.__version__}\n".encode()
    files[f"lading-{lading.__version__}.dist-info/METADATA"] = LayerFile(said)
    return files


def add_bytecode(
    files: dict[str, LayerFile], at: str, folder: Path, python: str
) -> dict[str, LayerFile] | None:
    """Compile Python files, by their names below the folder `at` of the image, as its Python would.

    The bytecode is never checked against its source, so that no time gets in: a read-only image cannot
    change. None where no Python of the image's version is here.
    """
    program = _interpreter(python)
    if program is None:
        return None
    sources = {name: one for name, one in files.items() if name.endswith(".py")}
    for name, one in sources.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(one.pieces()))
    # In one process and in the order of names: what is written depends a little on what was compiled before.
    command = [program, "-I", "-m", "compileall", "-qq", "-s", str(folder), "-p", f"/{at}"]
    command += ["--invalidation-mode", "unchecked-hash", str(folder)]
    # Sources that a Python refuses, as some packages have in their tests, are left without bytecode.
    subprocess.run(command, check=False, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True)  # noqa: S603
    compiled = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*.pyc"))}
    return {name: LayerFile(path.read_bytes()) for name, path in compiled.items()}


def _interpreter(python: str) -> str | None:
    import shutil

    if python == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    return shutil.which(f"python{python}")


def _check_pinned(source: Path) -> None:
    try:
        text = source.read_text().replace("\\\n", " ")
    except OSError as error:
        raise UsageError(f"requirements `{source}`", expected="a file", found=str(error)) from error
    for line in text.splitlines():
        said = line.partition("#")[0].strip()
        if said and not said.startswith("--hash") and not _REQUIREMENT.match(said):
            where = f"requirements `{source}`"
            raise UsageError(where, expected="only lines `name==version`", found=f"`{said}`")


def _download(source: Path, folder: Path, python: str, architecture: str) -> None:
    options = [option for tag in _platforms(architecture) for option in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, *options]
    command += ["--dest", str(folder), "--requirement", str(source)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if "No module named pip" in done.stderr:
        hint = "give `--wheels` a folder of wheels, or install pip"
        raise ExtraMissing("`lading image base`", expected="pip to fetch wheels", found="none", hint=hint)
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), done.stderr)
        where = f"wheels of `{source}` for Python {python} on {architecture}"
        raise UsageError(where, expected="pip to fetch them", found=said.strip()[:500])


def _platforms(architecture: str) -> Iterator[str]:
    machine = _MACHINES.get(architecture, architecture)
    for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1):
        yield f"manylinux_2_{minor}_{machine}"
    yield from (f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}")


def _described(path: Path) -> Wheel:
    name, _, rest = path.name.partition("-")
    version, dash, _ = rest.partition("-")
    if not dash:
        raise ImageInvalid(f"wheel `{path}`", expected="a name `NAME-VERSION-….whl`", found=f"`{path.name}`")
    return Wheel(
        name.replace("_", "-").lower(), version, hashlib.sha256(path.read_bytes()).hexdigest(), str(path)
    )


def _place(name: str) -> str | None:
    """Return where a file of a wheel goes (https://packaging.python.org/specifications/binary-distribution-format)."""
    if name.startswith("/") or ".." in name.split("/") or "\\" in name:
        raise ImageInvalid("wheel", expected="names below its root", found=f"`{name}`")
    found = re.fullmatch(r"[^/]+\.data/([a-z]+)/(.+)", name)
    if found is None:
        return name
    return found[2] if found[1] in {"purelib", "platlib"} else None


def _check(wheel: Wheel, name: str, data: bytes, recorded: str) -> None:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    if recorded.startswith("sha256=") and recorded != f"sha256={digest}":
        where = f"`{name}` in wheel `{wheel.name}`"
        raise ImageInvalid(where, expected=f"`{recorded}`", found=f"`sha256={digest}`")


def versions_of(wheels: Sequence[Wheel], names: Sequence[str]) -> dict[str, str]:
    """Return the versions of some packages among the wheels."""
    return {one.name: one.version for one in wheels if one.name in names}
