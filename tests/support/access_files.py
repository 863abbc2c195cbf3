"""An access file with a key for each role, and the keys themselves, which only tests ever have together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lading.access import ROLES
from lading.access.file import AccessFile
from lading.access.gate import Gate
from lading.access.keys import key_hash, new_key

ISSUER_RULES = """
[[issuers]]
issuer = "{issuer}"
audience = ["lading", "lading-eu"]
algorithms = ["ES256", "RS256", "Ed25519"]
clock_skew = "30s"
{keys}
[[issuers.grants]]
claim = "groups"
value = "scorers"
roles = ["predict"]
models = ["iris*"]
[[issuers.grants]]
claim = "realm_access.roles"
value = "reader"
roles = ["read"]
[[issuers.grants]]
claim = "scope"
value = "lading.admin"
roles = ["admin"]
"""
"""An access file with one issuer, whose address and keys are put in."""


class Clock:
    """A clock that a test sets."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def bearer(credential: str) -> bytes:
    """Return the header with which a client sends a key or a token."""
    return f"Bearer {credential}".encode()


@dataclass
class Keys:
    """Keys by the names of their owners, and the text of the file that knows them."""

    by_name: dict[str, str] = field(default_factory=dict)
    text: str = ""

    def add(self, name: str, *roles: str, more: str = "") -> str:
        """Draw a key, and add it to the text; `more` are further lines of its table."""
        key = self.by_name[name] = new_key()
        listed = ", ".join(f'"{role}"' for role in roles)
        self.text += f'[[keys]]\nname = "{name}"\nsha256 = "{key_hash(key)}"\nroles = [{listed}]\n{more}\n'
        return key

    def header(self, name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.by_name[name]}"}

    def file(self) -> AccessFile:
        return AccessFile.parse(self.text)

    def gate(self) -> Gate:
        return Gate(self.file())

    def write(self, path: Path) -> Path:
        path.write_text(self.text)
        return path


def keys_of_every_kind(model: str = "iris", other: str = "other") -> Keys:
    """Return, for each role, a key for all models, for `model`, for `other`, and one that has expired."""
    keys = Keys()
    for role in ROLES:
        keys.add(f"{role} all", role)
        keys.add(f"{role} {model}", role, more=f'models = ["{model}"]')
        keys.add(f"{role} {other}", role, more=f'models = ["{other}"]')
        keys.add(f"{role} expired", role, more="expires = 2020-01-01")
    return keys
