"""Wheels: fetched for a platform, checked, and unpacked as the files of a layer, without running anything.

pip fetches them from the index that it is configured for. They are unpacked here, because pip would write
files that depend on the machine that it runs on.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import io
import os
import platform
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

import lading
from lading.errors import DISTRIBUTION, ExtraMissing, ImageInvalid, UsageError
from lading.image.layers import LayerFile

NEWEST_GLIBC = 41
OLDEST_GLIBC = 17
"""The range of manylinux tags that are accepted, by the minor version of glibc 2 (PEP 600)."""
LIBRARY_SCHEMES = ("purelib", "platlib")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "ppc64le", "s390x": "s390x"}
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[^\]]*\])?==[^\s;]+")


class Wheel(msgspec.Struct, frozen=True):
    """A wheel that goes into an image: its name, version and digest, and its path here."""

    name: str
    version: str
    sha256: str
    path: str

    @property
    def line(self) -> str:
        """The requirement that only this very file meets."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


def collect_wheels(source: Path, folder: Path, *, python: str, architecture: str) -> list[Wheel]:
    """List the wheels of a folder, or fetch those that a requirements file pins into `folder`.

    Raises `UsageError` for a requirement without ``==``, and if pip cannot fetch it; with ``--hash`` in the
    file, pip accepts only that very file.
    """
    if source.is_dir():
        paths = sorted(source.glob("*.whl"))
    else:
        _check_pinned(source)
        _download(source, folder, python, architecture)
        paths = sorted(folder.glob("*.whl"))
    if not paths:
        raise UsageError(f"wheels in `{source}`", expected="at least one", found="none")
    return [_wheel(path) for path in paths]


def unpack(wheel: Wheel) -> dict[str, LayerFile]:
    """Return the files of a wheel by their paths in ``site-packages``, each checked against the RECORD.

    Scripts, headers and data files are left out, because nothing in an image uses them. Raises
    `ImageInvalid`.
    """
    files = {}
    for info, data in verified_files(wheel):
        kind, path = scheme_path(info.filename)
        if kind in LIBRARY_SCHEMES:
            files[path] = LayerFile(data, 0o755 if is_library(path) else 0o644)
    return files


def verified_files(wheel: Wheel) -> Iterator[tuple[zipfile.ZipInfo, bytes]]:
    """Iterate over the files of a wheel but its RECORD, each checked against that. Raises `ImageInvalid`."""
    with _open_wheel(wheel) as archive:
        # Its own: a package may hold other packages, with their metadata, in its folders.
        record = next((name for name in archive.namelist() if is_metadata(name, "RECORD")), None)
        if record is None:
            raise ImageInvalid(f"wheel `{wheel.path}`", expected="a RECORD of its files", found="none")
        # RECORD: path, digest and size of every file (PEP 376).
        rows = csv.reader(io.StringIO(archive.read(record).decode()))
        digests = {row[0]: row[1] for row in rows if len(row) > 1}
        for info in archive.infolist():
            # Before it is read: a name that leads out of the wheel is refused, whatever it holds.
            scheme_path(info.filename)
            if info.is_dir() or info.filename == record:
                continue
            data = archive.read(info)
            _check_digest(wheel, info.filename, data, digests.get(info.filename, ""))
            yield info, data


@contextlib.contextmanager
def _open_wheel(wheel: Wheel) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(wheel.path) as archive:
            yield archive
    # What zipfile raises for damage, for unknown compression methods, and for encryption.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, csv.Error) as error:
        raise ImageInvalid(f"wheel `{wheel.path}`", expected="a wheel", found=str(error)) from error


def own_wheel(wheels: Sequence[Wheel]) -> Wheel | None:
    """Return the wheel of lading itself, or None; raises `UsageError` for one that only has its old name."""
    for wheel in wheels:
        if wheel.name == "lading":
            # On PyPI that is another project, whose files would be put over those of lading.
            hint = f"remove it: without a wheel `{DISTRIBUTION}` the lading that runs here is taken"
            raise UsageError(
                f"wheel `{wheel.path}`", expected=f"`{DISTRIBUTION}`", found="`lading`", hint=hint
            )
    return next((wheel for wheel in wheels if wheel.name == DISTRIBUTION), None)


def lading_files() -> dict[str, LayerFile]:
    """Return the files of the lading that runs here, with the metadata that states its version.

    Raises `ImageInvalid` if its sources are no longer where it was imported from.
    """
    folder = Path(lading.__file__).parent
    files = {
        f"lading/{path.relative_to(folder)}": LayerFile(path)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.relative_to(folder).parts
    }
    if "lading/__init__.py" not in files:
        raise ImageInvalid(
            f"lading in `{folder}`", expected="its Python files", found="none", hint="install lading again"
        )
    metadata = f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {lading.__version__}\n".encode()
    folder_name = f"{DISTRIBUTION.replace('-', '_')}-{lading.__version__}.dist-info"
    files[f"{folder_name}/METADATA"] = LayerFile(metadata)
    return files


def compile_bytecode(
    files: dict[str, LayerFile], root: str, folder: Path, python: str
) -> dict[str, LayerFile] | None:
    """Compile Python files as the image's Python would, by their paths below `root` in the image.

    `folder` is for temporary files. Returns None if there is no Python of the image's version here.
    """
    program = _interpreter(python)
    if program is None:
        return None
    sources = {name: file for name, file in files.items() if name.endswith(".py")}
    for name, file in sources.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(file.chunks()))
    # One process, in the order of names: the bytes depend slightly on what was compiled before.
    command = [program, "-I", "-m", "compileall", "-qq", "-s", str(folder), "-p", f"/{root}"]
    # Bytecode that is not checked against its source holds no time. A read-only image cannot change.
    command += ["--invalidation-mode", "unchecked-hash", str(folder)]
    # Sources that do not compile, as in the tests of some packages, are left without bytecode.
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
        requirement = line.partition("#")[0].strip()
        if requirement and not requirement.startswith("--hash") and not _REQUIREMENT.match(requirement):
            where = f"requirements `{source}`"
            raise UsageError(where, expected="only lines `name==version`", found=f"`{requirement}`")


def download_options(source: Path, folder: Path, python: str, architecture: str) -> list[str]:
    """Return the arguments by which pip fetches the wheels of requirements for another machine."""
    # pip does not derive older tags from newer ones, so every accepted one is passed.
    options = [option for tag in _platform_tags(architecture) for option in ("--platform", tag)]
    options += ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    return ["download", *options, "--dest", str(folder), "--requirement", str(source)]


def _download(source: Path, folder: Path, python: str, architecture: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    command += download_options(source, folder, python, architecture)
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if "No module named pip" in done.stderr:
        hint = "pass a folder of wheels to `--wheels`, or install pip"
        raise ExtraMissing("`lading image base`", expected="pip to fetch wheels", found="none", hint=hint)
    if done.returncode:
        error = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), done.stderr)
        where = f"wheels of `{source}` for Python {python} on {architecture}"
        raise UsageError(where, expected="pip to fetch them", found=error.strip()[:500])


def is_of_this_machine(architecture: str) -> bool:
    """Return whether an architecture, as images name it, is that of this machine."""
    return _MACHINES.get(architecture, architecture) == platform.machine()


def _platform_tags(architecture: str) -> Iterator[str]:
    machine = _MACHINES.get(architecture, architecture)
    for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1):
        yield f"manylinux_2_{minor}_{machine}"
    yield from (f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}")


def _wheel(path: Path) -> Wheel:
    name, _, rest = path.name.partition("-")
    version, dash, _ = rest.partition("-")
    if not dash:
        raise ImageInvalid(f"wheel `{path}`", expected="a name `NAME-VERSION-….whl`", found=f"`{path.name}`")
    return Wheel(
        name.replace("_", "-").lower(), version, hashlib.sha256(path.read_bytes()).hexdigest(), str(path)
    )


def scheme_path(name: str) -> tuple[str, str]:
    """Return where a wheel's file goes: the key of an installation scheme, and the path below that folder.

    https://packaging.python.org/specifications/binary-distribution-format
    """
    if name.startswith("/") or ".." in name.split("/") or "\\" in name:
        raise ImageInvalid("wheel", expected="names below its root", found=f"`{name}`")
    match = re.fullmatch(r"[^/]+\.data/([a-z]+)/(.+)", name)
    return ("purelib", name) if match is None else (match[1], match[2])


def is_metadata(path: str, name: str) -> bool:
    """Return whether a file of a wheel is the one of this name in its own metadata."""
    return path.endswith(f".dist-info/{name}") and path.count("/") == 1


def is_library(path: str) -> bool:
    """Return whether a file is a shared library, by its name."""
    return path.endswith(".so") or ".so." in path


def _check_digest(wheel: Wheel, name: str, data: bytes, recorded: str) -> None:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    if recorded.startswith("sha256=") and recorded != f"sha256={digest}":
        where = f"`{name}` in wheel `{wheel.name}`"
        raise ImageInvalid(where, expected=f"`{recorded}`", found=f"`sha256={digest}`")


def versions_of(wheels: Sequence[Wheel], names: Sequence[str]) -> dict[str, str]:
    """Return the versions of the named packages among the wheels."""
    return {wheel.name: wheel.version for wheel in wheels if wheel.name in names}
