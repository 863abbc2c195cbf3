"""Finds the credentials for a registry where Docker, Podman and ORAS keep them. Writes and logs none.

Read in this order: ``$REGISTRY_AUTH_FILE``, ``$DOCKER_CONFIG/config.json`` or ``~/.docker/config.json``,
``$XDG_RUNTIME_DIR/containers/auth.json``; in each ``credHelpers``, ``auths``, ``credsStore``
(https://docs.docker.com/reference/cli/docker/login, containers-auth.json(5)).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lading.errors import InvalidSetting

HELPER_TIMEOUT_S = 30.0
DOCKER_HUB = "docker.io"


@dataclass(frozen=True)
class Credentials:
    """A user and password, or a token to exchange for others."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of the header for basic authentication (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def find_credentials(host: str, repository: str, environ: Mapping[str, str]) -> Credentials | None:
    """Return the credentials for a repository of a host, or None to ask anonymously.

    Raises `InvalidSetting` for a file that cannot be read and for a credential helper that fails.
    """
    for path in _files(environ):
        config = _read(path)
        for key in _keys(host, repository):
            credentials = _in_config(config, key, path)
            if credentials is not None:
                return credentials
    return None


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    if file := environ.get("REGISTRY_AUTH_FILE"):
        yield Path(file)
    if folder := environ.get("DOCKER_CONFIG"):
        yield Path(folder) / "config.json"
    elif home := environ.get("HOME"):
        yield Path(home) / ".docker" / "config.json"
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"


def _keys(host: str, repository: str) -> Iterator[str]:
    """Return the keys under which credentials may be stored, most specific first: ``host/team``, ``host``."""
    parts = [host, *repository.split("/")]
    for length in range(len(parts), 0, -1):
        yield "/".join(parts[:length])
    # As Docker does. It takes `http://` for the same host as well, which the Python client of ORAS writes.
    yield from (f"{scheme}://{host}{path}" for scheme in ("https", "http") for path in ("", "/v1/", "/v2/"))
    if host == DOCKER_HUB:
        yield from ("index.docker.io", "https://index.docker.io/v1/")


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        where = f"credentials in `{path}`"
        raise InvalidSetting(where, expected="a readable JSON file", found=str(error)) from error
    return config if isinstance(config, dict) else {}


def _in_config(config: dict[str, Any], key: str, path: Path) -> Credentials | None:
    helper = _table(config, "credHelpers").get(key)
    if helper:
        return _ask(helper, key, path)
    entry = _table(config, "auths").get(key)
    if isinstance(entry, dict) and entry.get("identitytoken"):
        return Credentials(identity_token=entry["identitytoken"])
    if isinstance(entry, dict) and entry.get("auth"):
        return _decode(entry["auth"], key, path)
    # As kubelet reads a Secret, which `kubectl create secret docker-registry` writes in both forms.
    if isinstance(entry, dict) and entry.get("username") and entry.get("password"):
        return Credentials(str(entry["username"]), str(entry["password"]))
    # An entry without a secret means that the credential store has it; without an entry nobody logged in.
    if entry is not None and config.get("credsStore"):
        return _ask(config["credsStore"], key, path)
    return None


def _table(config: dict[str, Any], name: str) -> dict[str, Any]:
    table = config.get(name)
    return table if isinstance(table, dict) else {}


def _decode(text: str, key: str, path: Path) -> Credentials:
    try:
        user, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        # The value itself is a secret and stays out of the message.
        where = f"credentials of `{key}` in `{path}`"
        raise InvalidSetting(where, expected="user:password in base64", found="something else")
    return Credentials(user, password.rstrip("\0"))


def _ask(helper: object, key: str, path: Path) -> Credentials | None:
    """Run a credential helper, a program ``docker-credential-…``."""
    # https://github.com/docker/docker-credential-helpers
    where = f"credential helper `{helper}` named in `{path}`"
    if not isinstance(helper, str) or not re.fullmatch(r"[A-Za-z0-9._-]+", helper):
        raise InvalidSetting(where, expected="the end of a program's name", found="something else")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(  # noqa: S603 - a fixed name, no shell, the key on stdin
            [program, "get"],
            input=key.encode(),
            capture_output=True,
            timeout=HELPER_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidSetting(where, expected=f"`{program}` to run", found=str(error)) from error
    if done.returncode:
        output = (done.stdout + done.stderr).decode(errors="replace").strip()
        # Helpers print "credentials not found in native keychain".
        if "not found" in output:
            return None
        raise InvalidSetting(where, expected="credentials", found=output or f"exit code {done.returncode}")
    try:
        answer = json.loads(done.stdout)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise InvalidSetting(where, expected="its JSON", found="something else") from None
    # Docker's marker for a secret that is an identity token.
    return Credentials(identity_token=secret) if user == "<token>" else Credentials(user, secret)
