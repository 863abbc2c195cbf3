"""Which packages a model's code needs, as a lock: those that a run really imported, or those that are stated.

Everything that is installed here holds as a constraint, so that the lock is the environment of training and
no newer one. lading itself is in no lock: the process that runs a bundle's code needs numpy alone.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path

from lading.bundle.environment_lock import EnvironmentLock, normal_name, normal_version
from lading.errors import DISTRIBUTION, RequirementsRefused
from lading.runtime.python.resolver import Resolver, requirement_lines, requirement_name

ALWAYS = "numpy"
"""In every lock: arrays are what goes in and out of a model process."""

_STATED = re.compile(r"[<>=!~]=|[<>@]|===")
_WHEEL_HINT = (
    "ship its modules as code of the bundle, or build a wheel of it into a folder, "
    "and state it in `requirements` together with that folder"
)


@dataclass(frozen=True)
class LockedRequirements:
    """The lock, the Python that it is for, and the modules of the run that no distribution owns.

    Those modules are the model's own code: a bundle has to bring them along.
    """

    lock: EnvironmentLock
    python: str
    own_modules: tuple[str, ...] = ()


def lock_requirements(
    requirements: str | Path | Sequence[str] = "auto",
    *,
    modules: Iterable[str] = (),
    resolver: Resolver | None = None,
    as_here: bool = True,
) -> LockedRequirements:
    """Return the lock of `requirements`, numpy included.

    ``auto`` are the distributions that own `modules`, the names of the modules that a run imported, at the
    versions installed here. Else they are lines as pip reads them, or the path of a file of such lines; what
    they leave open gets the version installed here, or without `as_here` the newest that goes with them.
    Raises `RequirementsRefused`, and `EnvironmentFailed` if the package index cannot be reached.
    """
    resolver = resolver or Resolver()
    installed = _installed()
    own_modules: tuple[str, ...] = ()
    if isinstance(requirements, str) and requirements == "auto":
        owners, own_modules = find_owners(modules, installed)
        for name in sorted(owners):
            _refuse_local(installed[name])
        lines = [f"{name}=={_version(installed[name])}" for name in sorted(owners)]
    else:
        lines = requirement_lines(requirements)
    names = {requirement_name(line) for line in lines}
    if ALWAYS not in names:
        lines.append(ALWAYS)
    stated = {requirement_name(line) for line in lines if _STATED.search(line.partition(";")[0])}
    constraints = {
        name: version
        for name, distribution in installed.items()
        # What cannot be had from an index is no version to ask it for.
        if name not in stated and not _local_place(distribution) and (version := _version(distribution))
    }
    constraints.pop(normal_name(DISTRIBUTION), None)
    lock = resolver.resolve(lines, constraints if as_here else {})
    _refuse_lading(lock)
    _compare_with_installed(lock, installed)
    return LockedRequirements(lock, resolver.python, own_modules)


def find_owners(
    modules: Iterable[str], installed: dict[str, metadata.Distribution] | None = None
) -> tuple[set[str], tuple[str, ...]]:
    """Return the names of the distributions that own `modules`, and the top modules that none owns, sorted.

    The standard library and lading are left out of both.
    """
    installed = _installed() if installed is None else installed
    by_top = metadata.packages_distributions()
    tops: dict[str, set[str]] = {}
    for module in modules:
        if (top := _top(module)) is not None:
            tops.setdefault(top, set()).add(module)
    owners, own = set(), []
    for top, names in tops.items():
        distributions = {normal_name(name) for name in by_top.get(top, ())} & installed.keys()
        if len(distributions) > 1:
            distributions = _owners_of_parts(names, distributions, installed)
        owners |= distributions
        if not distributions and _has_file(top):
            own.append(top)
    return owners - {normal_name(DISTRIBUTION)}, tuple(sorted(own))


def _top(module: str) -> str | None:
    """Return the file or folder that holds a module, without its ending; None for the standard library.

    Extensions also enter themselves under their last name: scipy's `_ni_label` is a part of `scipy`.
    """
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in ("__main__", "__mp_main__", "lading"):
        return None
    file = _file_of(module)
    if file is None:
        return top
    places = [place for place in sys.path if place and Path(file).is_relative_to(place)]
    if not places:
        return top
    place = Path(max(places, key=len))
    standard = Path(sysconfig.get_path("stdlib"))
    if place.is_relative_to(standard) and not {"site-packages", "dist-packages"} & {*place.parts}:
        return None
    return Path(file).relative_to(place).parts[0].partition(".")[0]


def _owners_of_parts(
    modules: set[str], names: set[str], installed: dict[str, metadata.Distribution]
) -> set[str]:
    """Return those of the distributions that have files of `modules`; all if none has.

    Several share a top module where it is a namespace, such as `google`.
    """
    # A module is a file or a folder: `google.rpc` is `google/rpc.py`, `google/rpc.cpython-….so` or a package.
    paths = {module.replace(".", "/") for module in modules if "." in module}
    owners = set()
    for name in names:
        files = {str(file).split(".", 1)[0] for file in installed[name].files or ()}
        folders = {file.removesuffix("/__init__") for file in files}
        if paths & (files | folders):
            owners.add(name)
    return owners or names


def _file_of(module: str) -> str | None:
    """Return the file of a module, or None if it has none or is no part of this process' path."""
    if module in sys.modules:
        return getattr(sys.modules[module], "__file__", None)
    # It was imported in another process. Of a part of a package, that would import the package here.
    spec = None if "." in module else _spec(module)
    return spec.origin if spec is not None and spec.has_location else None


def _has_file(module: str) -> bool:
    """Return whether the module is a file or a folder: extensions also make modules that are neither."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        return bool(getattr(loaded, "__file__", None) or getattr(loaded, "__path__", None))
    return _spec(module) is not None


def _spec(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None


def _installed() -> dict[str, metadata.Distribution]:
    """Return what is installed here by normal name; of two on the path the first, which is imported."""
    installed: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions():
        if distribution.metadata["Name"]:
            installed.setdefault(normal_name(distribution.metadata["Name"]), distribution)
    return installed


def _version(distribution: metadata.Distribution) -> str | None:
    return normal_version(distribution.version or "")


def _origin(distribution: metadata.Distribution) -> dict[str, object]:
    # https://packaging.python.org/specifications/direct-url
    return dict(json.loads(distribution.read_text("direct_url.json") or "{}"))


def _local_place(distribution: metadata.Distribution) -> str | None:
    """Return how a distribution came here other than as a wheel, for a sentence, or None."""
    origin = _origin(distribution)
    if "dir_info" in origin:
        return "a folder"
    return "a source repository" if "vcs_info" in origin else None


def _refuse_local(distribution: metadata.Distribution) -> None:
    place, name = _local_place(distribution), distribution.metadata["Name"]
    if place is not None:
        origin = f"`{name} {distribution.version}`, installed from {place}"
        expected = "packages that are installed from wheels"
        raise RequirementsRefused("requirements", expected=expected, found=origin, hint=_WHEEL_HINT)
    if _version(distribution) is None:
        version = f"`{name} {distribution.version}`"
        raise RequirementsRefused("requirements", expected="versions as PEP 440 has them", found=version)


def _refuse_lading(lock: EnvironmentLock) -> None:
    if normal_name(DISTRIBUTION) in lock.versions:
        raise RequirementsRefused(
            "requirements",
            expected="packages without lading",
            found=f"`{DISTRIBUTION}`, stated or needed by one that is",
            hint="the process that runs the code brings `lading.Model` along; leave lading out",
        )


def _compare_with_installed(lock: EnvironmentLock, installed: dict[str, metadata.Distribution]) -> None:
    """Refuse a wheel of the lock that has the version, but not the bytes, of the file installed here."""
    for pin in lock.pins:
        distribution = installed.get(pin.name)
        if distribution is None or _version(distribution) != pin.version:
            continue
        archive = _origin(distribution).get("archive_info")
        sha256 = archive.get("hashes", {}).get("sha256") if isinstance(archive, dict) else None
        if sha256 is not None and f"sha256:{sha256}" not in pin.hashes:
            raise RequirementsRefused(
                "requirements",
                expected=f"the wheel of `{pin.name}=={pin.version}` that is installed here, sha256:{sha256}",
                found=pin.hashes[0],
                hint="name the folder that holds that wheel, or install the package from the index",
            )
