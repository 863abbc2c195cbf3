"""The routes of jobs: what is accepted, refused, shown; and a job's answer is that of its route."""

from __future__ import annotations

import gzip
import json

import pytest

from support.bundles import linear_bundle
from support.hosted_app import hosted, served_from
from support.hosted_jobs import hosted_jobs

BODY = {"data": [[1.0, 2.0, 3.0, 4.0]]}
TENSOR = {"name": "X", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
ASYNC = {"prefer": "respond-async"}


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    return served_from(linear_bundle(tmp_path_factory.mktemp("jobs") / "iris"), 1, ("stable",))


@pytest.fixture(scope="module")
def jobs(tmp_path_factory, iris):
    with hosted_jobs(tmp_path_factory.mktemp("registry"), iris, root_path="/ml") as jobs:
        yield jobs


@pytest.fixture
def still(tmp_path, iris):
    """A server whose jobs only wait."""
    with hosted_jobs(tmp_path / "r", iris, runs=False, max_jobs=3) as jobs:
        yield jobs


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", BODY),
        ("/predict/label", BODY),
        ("/models/iris/predict", {**BODY, "outputs": ["label", "probabilities"]}),
        ("/models/iris/tags/stable/predict", BODY),
        ("/v2/models/iris/infer", {"id": "mine", "inputs": [TENSOR]}),
        ("/v2/models/iris/versions/stable/infer", {"inputs": [TENSOR]}),
        ("/v1/models/iris:predict", {"instances": BODY["data"]}),
        ("/v1/models/iris/labels/stable:predict", {"instances": BODY["data"]}),
        ("/invocations", {"instances": BODY["data"]}),
    ],
)
def test_a_route_that_is_preferred_to_answer_later_gives_its_own_answer(jobs, path, body):
    want = jobs.post(path, body)
    accepted = jobs.post(path, body, headers=ASYNC)
    assert (accepted.status_code, accepted.headers["preference-applied"]) == (202, "respond-async")
    location = accepted.headers["location"]
    assert location.startswith("/ml/jobs/")
    job = jobs.ended(location)
    got = jobs.get(f"{location}/result")
    assert (got.status_code, got.content) == (want.status_code, want.content)
    for name in ("content-type", "x-lading-model", "x-lading-digest"):
        assert got.headers[name] == want.headers[name]
    assert json.dumps(job["result"]) == json.dumps(want.json())


@pytest.mark.parametrize("prefix", ["/models/iris", "/models/iris/versions/1", "/models/iris/tags/stable"])
def test_a_job_is_answered_as_the_predict_route_beside_it(jobs, prefix):
    accepted = jobs.post(f"{prefix}/jobs", BODY)
    assert accepted.status_code == 202
    assert "preference-applied" not in accepted.headers
    jobs.ended(accepted.headers["location"])
    got = jobs.get(f"{accepted.headers['location']}/result").content
    assert got == jobs.post(f"{prefix}/predict", BODY).content


@pytest.mark.parametrize("path", ["/models/iris/jobs", "/models/iris/predict"])
def test_a_compressed_body_is_that_of_a_job_too(jobs, path):
    headers = {"content-encoding": "gzip", "content-type": "application/json", **ASYNC}
    accepted = jobs.post(path, content=gzip.compress(json.dumps(BODY).encode()), headers=headers)
    assert accepted.status_code == 202, accepted.text
    jobs.ended(accepted.headers["location"])
    got = jobs.get(f"{accepted.headers['location']}/result").content
    assert got == jobs.post("/models/iris/predict", BODY).content


@pytest.mark.parametrize("prefer", ["wait=10", "respond-asyncx", "x-respond-async", ""])
def test_other_preferences_are_answered_at_once(jobs, prefer):
    assert jobs.post("/predict", BODY, headers={"prefer": prefer}).status_code == 200
    listed = jobs.post("/predict", BODY, headers={"prefer": "wait=10, Respond-Async; foo=1"})
    assert listed.status_code == 202


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/models/iris/jobs", {"data": [[1]]}, {}, 400),
        ("/models/iris/jobs", {"data": [["a", 1, 1, 1]]}, {}, 400),
        ("/models/wine/jobs", BODY, {}, 404),
        ("/models/iris/versions/7/jobs", BODY, {}, 404),
        ("/models/iris/jobs", BODY, {"x-lading-job-priority": "high"}, 400),
        ("/models/iris/jobs", BODY, {"x-lading-job-webhook": "https://example.com"}, 400),
        ("/models/iris/jobs", BODY, {"content-type": "text/csv"}, 415),
        ("/models/iris/jobs", BODY, {"origin": "https://evil.example"}, 403),
        ("/models/iris/predict", BODY, {"origin": "https://evil.example", **ASYNC}, 403),
        ("/predict", {"data": [[1]]}, ASYNC, 400),
    ],
)
def test_what_the_route_would_refuse_is_refused_at_once(still, path, body, headers, status):
    answer = still.post(path, body, headers=headers)
    assert (answer.status_code, "location" in answer.headers) == (status, False), answer.text
    assert still.get("/models/iris/jobs").json() == {"jobs": []}


def test_the_same_key_is_the_same_job_and_another_request_is_refused(still):
    headers = {"idempotency-key": "order-1"}
    first = still.post("/models/iris/jobs", BODY, headers=headers)
    again = still.post("/models/iris/jobs", BODY, headers=headers)
    assert first.headers["location"] == again.headers["location"]
    other = still.post("/models/iris/jobs", {"data": [[0, 0, 0, 0]]}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "JobKeyReused")


def test_a_full_queue_is_a_429_that_says_when_to_come_back(still):
    answers = [still.post("/models/iris/jobs", BODY) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert int(answers[-1].headers["retry-after"]) > 0


def test_a_job_that_waits_is_shown_listed_and_cancelled(still):
    locations = [still.post("/models/iris/jobs", BODY).headers["location"] for _ in range(3)]
    job = still.get(locations[0])
    assert (job.status_code, job.json()["state"], job.headers["retry-after"]) == (200, "waiting", "1")
    assert still.get(f"{locations[0]}/result").status_code == 202
    page = still.get("/models/iris/jobs?limit=2").json()
    assert [job["job"] for job in page["jobs"]] == [locations[2], locations[1]]
    rest = still.get(f"/models/iris/jobs?limit=2&before={page['before']}").json()
    assert [job["job"] for job in rest["jobs"]] == [locations[0]]
    assert "before" not in rest
    assert still.delete(locations[0], headers={"origin": "https://evil.example"}).status_code == 403
    assert still.delete(locations[0]).json()["state"] == "cancelled"
    assert still.get("/models/iris/jobs?state=cancelled").json()["jobs"][0]["job"] == locations[0]
    gone = still.get(f"{locations[0]}/result")
    assert (gone.status_code, gone.json()["code"]) == (409, "JobEnded")


@pytest.mark.parametrize(
    "query", ["state=asleep", "limit=0", "limit=x", "limit=1001", "before=-1", "before=9" * 9]
)
def test_a_list_that_cannot_be_is_refused(still, query):
    assert still.get(f"/models/iris/jobs?{query}").status_code == 400


@pytest.mark.parametrize("job_id", ["x", "0" * 32, "..%2f..", "%00", "a" * 5000, "예"])
def test_an_id_of_no_job_is_a_404(still, job_id):
    for answer in (
        still.get(f"/jobs/{job_id}"),
        still.get(f"/jobs/{job_id}/result"),
        still.delete(f"/jobs/{job_id}"),
    ):
        assert answer.status_code == 404, answer.text


def test_what_only_the_run_refuses_is_the_answer_of_the_job(tmp_path, iris):
    with hosted_jobs(tmp_path / "r", iris, max_request_rows=1) as jobs:
        two = {"data": BODY["data"] * 2}
        job = jobs.ended(jobs.post("/models/iris/jobs", two).headers["location"])
        assert (job["state"], job["status"]) == ("failed", 413)
        assert "at most 1 rows" in job["reason"]
        assert job["result"] == jobs.post("/models/iris/predict", two).json()


def test_without_the_setting_the_routes_say_so_and_the_preference_is_not_followed(iris):
    off = hosted(iris)
    for answer in (
        off.post("/models/iris/jobs", BODY),
        off.get("/models/iris/jobs"),
        off.get("/jobs/1"),
        off.get("/jobs/1/result"),
        off.request("DELETE", "/jobs/1"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (501, "NotSupported")
        assert "lading serve --jobs" in answer.json()["hint"]
    assert off.post("/predict", BODY, headers=ASYNC).status_code == 200


def test_the_description_of_the_routes_knows_the_headers_of_jobs(jobs, iris):
    paths = jobs.get("/openapi.json").json()["paths"]
    submit = paths["/models/{name}/jobs"]["post"]
    assert {"x-lading-job-priority", "idempotency-key"} <= {part["name"] for part in submit["parameters"]}
    assert submit["responses"].keys() >= {"202", "4XX", "501"}
    assert "202" in paths["/v2/models/{name}/infer"]["post"]["responses"]
    plain = hosted(iris).get("/openapi.json").json()["paths"]
    assert "202" not in plain["/predict"]["post"]["responses"]
