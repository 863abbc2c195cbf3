"""The installers that build environments, uv and pip, and the package index that pip is configured with.

uv reads no configuration of pip, so what matters of it is read at run time and passed on in variables of the
process that is started. It may hold passwords: it is written to no file, no log and no message.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lading.errors import ExtraMissing, pip_install
from lading.runtime.host.signals import ending_with_parent

Installer = Literal["uv", "pip"]
OnStep = Callable[[str], object]
"""Called with the name of each step that begins, in a few words."""

# The options of pip that say where packages come from; all others could change what is installed.
_SOURCES = ("index-url", "extra-index-url", "find-links", "no-index", "trusted-host")
_NETWORK = (
    "cert",
    "client-cert",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
    "cache-dir",
    "no-cache-dir",
)
# Sections in the order in which they win (pip's documentation, "Configuration").
_SECTIONS = ("global", "install", ":env:")
_UV_INDEX_VARIABLES = (
    "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX",
)  # fmt: skip
# Variables of a user's shell by which uv would verify less, or install something other than the lock.
_UV_UNSAFE = (
    "UV_NO_VERIFY_HASHES",
    "UV_CONSTRAINT",
    "UV_OVERRIDE",
    "UV_EXCLUDE",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
)
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'\"`<>]+")


@dataclass(frozen=True)
class PipSettings:
    """What pip is configured with, by the name of the option. Shows nothing when it is printed."""

    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def for_pip(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return `environ` for a process of pip that reads these settings, and no other configuration."""
        kept = {name: value for name, value in _clean(environ).items() if not name.startswith("PIP_")}
        kept.update({f"PIP_{name.upper().replace('-', '_')}": value for name, value in self.options.items()})
        # pip reads no configuration file at all where this is the null device.
        return {
            **kept,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INPUT": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def for_uv(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return `environ` for a process of uv; an index that uv itself is configured with stays."""
        kept = {name: value for name, value in _clean(environ).items() if name not in _UV_UNSAFE}
        options = self.options
        if not any(name in environ for name in _UV_INDEX_VARIABLES):
            words = {name: options.get(name, "").split() for name in _SOURCES}
            kept.update(
                {
                    variable: value
                    for variable, value in {
                        "UV_DEFAULT_INDEX": " ".join(words["index-url"]),
                        "UV_INDEX": " ".join(words["extra-index-url"]),
                        "UV_FIND_LINKS": ",".join(words["find-links"]),
                        "UV_NO_INDEX": "1" if _is_true(options.get("no-index", "")) else "",
                        "UV_INSECURE_HOST": " ".join(words["trusted-host"]),
                        # As pip does: the best version over all indexes, not the first index that has one.
                        "UV_INDEX_STRATEGY": "unsafe-best-match" if words["extra-index-url"] else "",
                    }.items()
                    if value
                }
            )
        for name, variable in {
            "cert": "SSL_CERT_FILE", "client-cert": "SSL_CLIENT_CERT", "proxy": "ALL_PROXY",
            "default-timeout": "UV_HTTP_TIMEOUT", "timeout": "UV_HTTP_TIMEOUT",
        }.items():  # fmt: skip
            if name in options:
                kept.setdefault(variable, options[name])
        return {**kept, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}

    def redact(self, text: str) -> str:
        """Return `text` without addresses and without the values of these settings."""
        options = (self.options.get(name, "") for name in ("find-links", "trusted-host", "proxy"))
        places = sorted({place for option in options for place in option.split()}, key=len, reverse=True)
        pattern = "|".join(
            [_URL.pattern, *(rf"(?<![\w/.-]){re.escape(place)}(?![\w.-])" for place in places)]
        )
        return re.sub(pattern, "a configured place", text)


def read_pip_settings(environ: Mapping[str, str] = os.environ) -> PipSettings:
    """Return what the pip of this Python, or the one on the PATH, is configured with; empty without a pip."""
    pip = pip_command() or ([path] if (path := shutil.which("pip", path=environ.get("PATH"))) else None)
    if pip is None:
        return PipSettings()
    done = subprocess.run(  # noqa: S603
        [*pip, "config", "list"], env=dict(environ), capture_output=True, text=True, check=False
    )
    sections: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for entry in done.stdout.splitlines():
        key, equals, value = entry.partition("=")
        section, _, name = key.rpartition(".")
        if equals and section in sections and name in (*_SOURCES, *_NETWORK):
            # pip prints the value as Python would.
            sections[section][name] = str(ast.literal_eval(value))
    return PipSettings({name: value for values in sections.values() for name, value in values.items()})


def find_uv() -> str | None:
    """Return the path of uv: that of the package `uv` of this Python, else the one on the PATH, or None."""
    if importlib.util.find_spec("uv") is not None:
        try:
            return str(importlib.import_module("uv").find_uv_bin())
        except (AttributeError, FileNotFoundError):
            pass  # A module of that name, or a package whose binary was removed.
    return shutil.which("uv")


def choose_installer(installer: Installer | None) -> Installer:
    """Return `installer`, by default uv where it is installed, else pip; raises `ExtraMissing` without uv."""
    if installer == "uv" and find_uv() is None:
        raise ExtraMissing("environment", expected="uv", found="none", hint=pip_install("python"))
    return installer or ("uv" if find_uv() is not None else "pip")


def pip_command() -> list[str] | None:
    """Return the command that runs the pip of this Python, or None if it has none."""
    # -P keeps the current directory off the path.
    return [sys.executable, "-P", "-m", "pip"] if importlib.util.find_spec("pip") is not None else None


def pip_runner(subject: str) -> Path:
    """Return the file by which another Python runs the pip of this one; raises `ExtraMissing` without it.

    It is what ``pip --python`` starts. That one's process would live on alone if its parent were killed.
    """
    spec = importlib.util.find_spec("pip")
    if spec is None or spec.origin is None:
        hint = f"{pip_install('python')}, or serve an image of the bundle, which `lading image build` makes"
        raise ExtraMissing(subject, expected="uv or pip", found="neither", hint=hint)
    runner = Path(spec.origin).with_name("__pip-runner__.py")
    if not runner.is_file():
        hint = f"{pip_install('python')}, or `pip install --upgrade pip`"
        raise ExtraMissing(subject, expected="uv, or pip 22.3 or newer", found="an older pip", hint=hint)
    return runner


@dataclass(frozen=True)
class Finished:
    """How a process of an installer ended: its exit code, None if its time was up, and what it printed."""

    code: int | None
    output: str
    messages: str


def run_installer(
    command: Sequence[str | Path], environ: Mapping[str, str], *, timeout_s: float, held: Sequence[int] = ()
) -> Finished:
    """Run `command` and return how it ended.

    On Linux it ends with this thread. It also keeps the descriptors `held` and their locks: until it has
    ended, nobody else takes what it may still write to.
    """
    process = subprocess.Popen(  # noqa: S603
        ending_with_parent([str(word) for word in command]),
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        pass_fds=held,
    )
    late = False
    try:
        output, messages = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        late = True
        process.kill()
        output, messages = process.communicate()
    except BaseException:  # Ctrl-C
        process.kill()
        process.communicate()
        raise
    return Finished(None if late else process.returncode, output, messages)


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    # Packages on these paths would pass for installed ones.
    return {name: value for name, value in environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def _is_true(text: str) -> bool:
    return text.lower() in ("1", "true", "yes", "on", "y", "t")
