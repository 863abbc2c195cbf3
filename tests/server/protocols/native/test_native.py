"""Routes and error answers of the native protocol."""

from __future__ import annotations

from support.hosted_app import hosted

ROW = [5.1, 3.5, 1.4, 0.2]


def test_every_answer_names_the_bundle_and_the_request(iris):
    answer = iris.post("/predict", {"data": [ROW]}, headers={"x-request-id": "mine"})
    assert answer.headers["x-lading-model"] == "iris:2"
    assert answer.headers["x-lading-digest"] == iris.app.plane.resolve("iris").digest
    assert answer.headers["x-request-id"] == "mine"
    ids = {iris.get("/health").headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


def test_another_method_is_405_and_the_allowed_ones_are_named(iris):
    answer = iris.request("DELETE", "/predict")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_a_body_over_the_limit_is_413(iris):
    small = hosted(*iris.app.plane.versions("iris"), max_body_bytes=1000)
    answer = small.post("/predict", content=b" " * 1001)
    assert answer.status_code == 413
    assert "at most 1000 bytes" in answer.json()["error"]


def test_a_defect_is_answered_without_a_traceback(iris, caplog):
    served = iris.app.plane.resolve("iris")

    def broken(*_arguments: object) -> None:
        raise KeyError("a defect")

    faulty = hosted(served)
    faulty.app.router.find("GET", "/health")
    route = next(route for route in faulty.app.router.routes if route.pattern == "/health")
    # A defect cannot be provoked from outside; the handler is replaced by one that has it.
    object.__setattr__(route, "handler", broken)
    answer = faulty.get("/health")
    assert answer.status_code == 500
    assert "Traceback" not in answer.text
    assert "a defect" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["hint"]
    assert "a defect" in caplog.text
