"""Routes of TensorFlow Serving over REST."""

from __future__ import annotations

import pytest

from lading.server.inference.version import ServedVersion, State
from support.hosted_app import hosted
from support.tensorflow_serving import error_of

MALFORMED = [
    ("GET", "/v1/foo"),
    ("POST", "/v1/foo"),
    ("GET", "/v1/models/debug/model_name"),
    ("POST", "/v1/models"),
    ("GET", "/v1/models/foo:predict"),
    ("GET", "/v1/models/foo/version/50:predict"),
    ("POST", "/v1/models/foo/version/50:regress"),
    ("POST", "/v1/models/foo/versions/HELLO:regress"),
    ("POST", "/v1/models/foo/metadata"),
    ("POST", "/v1/models/foo/label/some_label:regress"),
    ("POST", "/v1/models/foo/versions/50/labels/some_label:regress"),
    ("DELETE", "/v1/models/iris"),
    ("GET", "/v1/"),
]


@pytest.mark.parametrize(("method", "path"), MALFORMED)
def test_anything_else_under_v1_is_malformed(models, method, path):
    text = error_of(models.request(method, path))
    # A route that exists for another method is refused in the same words.
    assert text.startswith(f"Malformed request: {method} {path}")


def test_a_model_that_is_loading_is_unavailable_and_says_so():
    client = hosted(ServedVersion("wine", 1, "sha256:0", State.LOADING))
    assert "`loading`" in error_of(client.post("/v1/models/wine:predict", {"instances": [1]}), 503)


def test_routes_are_documented_with_their_parameters(models):
    paths = models.get("/openapi.json").json()["paths"]
    operation = paths["/v1/models/{name}/versions/{version}:predict"]["post"]
    assert [parameter["name"] for parameter in operation["parameters"]] == ["name", "version"]
