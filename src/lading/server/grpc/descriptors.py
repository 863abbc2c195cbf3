"""Message classes of the protos that this server speaks, in a descriptor pool of its own.

A private pool, because TensorFlow, tritonclient and others bring descriptors of the same names, and the
default pool of a process takes only one of each. The sets under ``_proto`` are written by
``scripts/protos.py``; unlike generated Python they load under any release of protobuf.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet


@cache
def pool() -> Any:
    """Return the pool; `load` fills it."""
    return descriptor_pool.DescriptorPool()


@cache
def load(protos: str) -> None:
    """Put the descriptor set `protos` into the pool: ``"oip"`` is ``_proto/oip.binpb``."""
    data = files(__package__).joinpath("_proto", f"{protos}.binpb").read_bytes()
    for file in FileDescriptorSet.FromString(data).file:
        pool().Add(file)


@cache
def message(protos: str, name: str) -> Any:
    """Return the class of the message with the full name `name`, from the descriptor set `protos`."""
    load(protos)
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(name))


@cache
def service(protos: str, name: str) -> Any:
    """Return the descriptor of a service."""
    load(protos)
    return pool().FindServiceByName(name)
