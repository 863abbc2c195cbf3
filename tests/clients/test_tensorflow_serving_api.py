"""Google's `tensorflow-serving-api` with TensorFlow itself against a real server."""

from __future__ import annotations

from pathlib import Path

import lading.server.grpc
from lading.signature import DTYPES
from support.bundles import linear_bundle
from support.server_process import serving
from support.small_models import echo, half_plus_two

PROTOS = Path(lading.server.grpc.__file__).parent / "_proto" / "tfs.binpb"


def test_tensorflow_serving_api_works_unchanged(tmp_path, in_environment):
    linear_bundle(tmp_path / "iris")
    half_plus_two(tmp_path / "half")
    for dtype in DTYPES:
        echo(tmp_path / dtype, f"echo-{dtype}", dtype)
    with serving(*sorted(tmp_path.iterdir())) as server:
        arguments = (server.grpc_target(), server.url, str(PROTOS))
        stdout = in_environment("tensorflow_serving", "tensorflow_serving_client.py", *arguments)
    assert "all of it works" in stdout
