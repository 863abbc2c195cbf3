"""For every test: servers run side by side here, so none takes the fixed port of gRPC."""

import os

os.environ.setdefault("LADING_GRPC_PORT", "0")
