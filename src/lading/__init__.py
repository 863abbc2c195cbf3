"""lading takes a trained model from the training environment into production and keeps it safe there.

Importing it loads the standard library and numpy only; each public name loads its own file when first used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lading.bundle import Bundle
    from lading.client import Client, Prediction
    from lading.errors import LadingError
    from lading.pack import pack
    from lading.ref import Ref
    from lading.registry import ModelVersion, Registry
    from lading.runtime.python.shim import Model
    from lading.signature import Signature, Tensor
    from lading.trial import predict, serve
    from lading.verify import verify

__version__ = "0.1.0"
__all__ = [
    "Bundle",
    "Client",
    "LadingError",
    "Model",
    "ModelVersion",
    "Prediction",
    "Ref",
    "Registry",
    "Signature",
    "Tensor",
    "pack",
    "predict",
    "serve",
    "verify",
]

_HOME = {
    "Bundle": "bundle",
    "Client": "client",
    "LadingError": "errors",
    "Model": "runtime.python.shim",
    "ModelVersion": "registry",
    "Prediction": "client",
    "Ref": "ref",
    "Registry": "registry",
    "Signature": "signature",
    "Tensor": "signature",
    "pack": "pack",
    "predict": "trial",
    "serve": "trial",
    "verify": "verify",
}


class _FrontDoor(ModuleType):
    """Keeps ``lading.pack`` and ``lading.verify`` functions.

    Importing the file of the same name would otherwise bind the module over the function: `lading.verify(…)`
    would work or not depending on what was imported before.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _FrontDoor


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'lading' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"lading.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
