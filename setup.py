"""Keeps a wheel from being built without what the hub's pages load of npm. All else is in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel

PACKED = Path(__file__).parent / "src" / "lading" / "hub" / "static" / "packed"


class WithAssets(bdist_wheel):  # type: ignore[misc]
    """Builds a wheel that has them. An editable install, which has what its folder has, is none."""

    def run(self) -> None:
        """Build the wheel, or say what is missing."""
        if not (PACKED / "package-lock.json").is_file():
            raise SystemExit(
                f"{PACKED}: expected what the hub's pages load of npm, found nothing\n"
                "hint: `scripts/assets` fetches it, with npm or with the Node of PyPI"
            )
        super().run()


setup(cmdclass={"bdist_wheel": WithAssets})
