"""Versions, tags and unknown names in the native routes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

ROW = [5.1, 3.5, 1.4, 0.2]


def run_iris(iris, version: int, rows: Any) -> dict[str, np.ndarray]:
    served = iris.app.plane.find("iris", version)
    return served.run({"X": np.array(rows, np.float32)})


def test_the_version_or_tag_in_the_route_answers(iris):
    for route, version in (("versions/1", 1), ("versions/2", 2), ("tags/live", 2)):
        answer = iris.post(f"/models/iris/{route}/predict", {"data": [ROW]})
        assert answer.headers["x-lading-model"] == f"iris:{version}"
        expected = run_iris(iris, version, [ROW])["probabilities"]
        np.testing.assert_array_equal(np.array(answer.json()["prediction"], np.float32), expected)


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("/models/rose/predict", "ModelNotFound", "`rose`"),
        ("/models/iris/versions/9/predict", "VersionNotFound", "9"),
        ("/models/iris/tags/rare/predict", "TagNotFound", "`rare`"),
        ("/nowhere", "RouteNotFound", "`/nowhere`"),
    ],
)
def test_an_unknown_name_version_tag_or_route_is_404(iris, path, code, text):
    answer = iris.post(path, {"data": [ROW]})
    assert answer.status_code == 404
    assert answer.json()["code"] == code
    assert text in answer.json()["error"]
