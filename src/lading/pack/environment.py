"""The training environment: what is installed, and the commit. No clock, host name, user or path."""

from __future__ import annotations

import platform
import re
import subprocess
from importlib import metadata

from lading.bundle import Training


def describe_training(framework: str, packages: tuple[str, ...]) -> Training:
    """Describe this environment; `packages` are the distributions whose versions matter to the model."""
    versions = {name: version for name in packages if (version := _version(name)) is not None}
    kind = f"{platform.system().lower()}-{platform.machine().lower()}"
    return Training(
        python=platform.python_version(),
        platform=kind,
        framework=framework,
        packages=versions,
        git_commit=_git_commit(),
    )


def installed_requirements() -> str:
    """List everything that is installed here as ``name==version`` lines, sorted."""
    versions: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            # The normalized name, as package indexes compare it (PEP 503); of two versions on the path the
            # first is the one that is imported.
            versions.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return "".join(f"{name}=={versions[name]}\n" for name in sorted(versions))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Return the commit of the working directory, or None outside a repository or without git."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--verify", "HEAD"],  # noqa: S607 - the user's own git, from their PATH
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    commit = done.stdout.strip()
    # 40 hex digits of SHA-1 or 64 of SHA-256.
    return commit if done.returncode == 0 and re.fullmatch(r"[0-9a-f]{40,64}", commit) else None
