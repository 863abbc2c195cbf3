"""For every test: no fixed port of gRPC, as servers run side by side, and no clock on generated examples."""

import os

from hypothesis import settings

from container_tools import container_storage, podman, runtime  # noqa: F401 - fixtures
from postgres_server import postgres  # noqa: F401 - a fixture
from store_servers import oci_server, oci_url, s3_server, s3_url  # noqa: F401 - fixtures
from yard import iris, yard  # noqa: F401 - fixtures

os.environ.setdefault("LADING_GRPC_PORT", "0")

# A busy machine takes longer than Hypothesis' 200 ms for one example, which says nothing about the code.
# Elsewhere chance finds what is new; CI tries the same examples each time, so that only a change fails it.
settings.register_profile("lading", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("lading")
