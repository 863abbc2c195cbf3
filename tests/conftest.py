"""For every test: servers run side by side here, so none takes the fixed port of gRPC."""

import os

from container_tools import container_storage, podman, runtime  # noqa: F401 - fixtures
from postgres_server import postgres  # noqa: F401 - a fixture
from store_servers import oci_server, oci_url, s3_server, s3_url  # noqa: F401 - fixtures
from yard import iris, yard  # noqa: F401 - fixtures

os.environ.setdefault("LADING_GRPC_PORT", "0")
