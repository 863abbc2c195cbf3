"""A server as it is put together from its settings."""

from __future__ import annotations

import pytest

from lading.server.process.compose import FAMILIES, make_app, make_plane
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.hosted_app import hosted, served_from


def test_the_model_of_the_root_routes_is_the_setting_or_else_the_first():
    assert make_plane(ServeSettings(), "iris").default_model == "iris"
    assert make_plane(ServeSettings(default_model="wine"), "iris").default_model == "wine"


def test_a_path_from_a_setting_wins_over_the_route_that_has_it_already(tmp_path):
    client = hosted(
        served_from(linear_bundle(tmp_path / "iris")),
        vertex_health_route="/health",
        vertex_predict_route="/predict",
    )
    assert client.get("/health").json() == {"health": "ok"}
    assert client.post("/predict", {"instances": [[1, 2, 3, 4]]}).json().keys() == {"predictions"}


@pytest.mark.parametrize("names", [*FAMILIES, "all"])
def test_every_choice_of_metric_names_is_a_page(names):
    settings = ServeSettings(metrics_names=names)
    route, _ = make_app(make_plane(settings), settings).router.find("GET", "/metrics")
    assert route.protocol == "metrics"
    assert hosted(metrics_names=names).get("/metrics").status_code == 200
