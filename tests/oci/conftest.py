"""What the tests of the OCI client share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.oci_proxy import RegistryProxy, registry_proxy
from support.oci_stores import close_all


@pytest.fixture(autouse=True)
def _closed():
    yield
    close_all()


@pytest.fixture
def proxied(oci_server) -> Iterator[RegistryProxy]:
    """A proxy before a real registry, whose answers a test can change."""
    with registry_proxy(oci_server.address) as proxy:
        yield proxy


@pytest.fixture
def name(oci_url) -> str:
    """The name of a repository that no other test uses."""
    return oci_url.partition("//")[2].partition("/")[2]
