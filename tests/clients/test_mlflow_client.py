"""MLflow's own scoring client and the requests of its documents against a real server."""

from __future__ import annotations

from support.bundles import linear_bundle
from support.server_process import serving


def test_mlflow_works_unchanged(tmp_path, in_environment):
    bundle = linear_bundle(tmp_path / "iris")
    with serving(bundle.path) as server:
        assert "all of it works" in in_environment("mlflow", "mlflow_client.py", server.url)
