"""The pages of inference jobs: the table, one job, and what neither of them displays."""

from __future__ import annotations

import pytest

from support import hub_jobs
from support.hub_pages import HubPages, text_of


@pytest.fixture
def pages(registry) -> HubPages:
    registry.models()
    return HubPages(registry)


def test_without_a_job_the_page_says_what_would_take_one(pages):
    page = pages.get("/jobs").text
    assert "No job is stored" in page
    assert "<code>lading serve --jobs</code>" in page
    assert "No job is like that" in pages.get("/jobs?state=failed").text


def test_the_table_has_the_newest_first_and_how_many_wait(registry, pages):
    hub_jobs.store(registry)
    rows = pages.data("/jobs")["jobs"]
    assert [row["id"] for row in rows] == list(reversed(hub_jobs.IDS))
    assert [row["state"] for row in rows] == ["waiting", "running", "cancelled", "failed", "done"]
    assert [row["priority"] for row in rows] == [-10, 5, 0, 0, 0]
    page = text_of(pages.get("/jobs"))
    assert "iris : 1 wait, 1 run" in page.replace("iris:", "iris :")
    assert hub_jobs.REASON.partition(":")[2] in page
    assert [row["id"] for row in pages.data("/jobs?state=failed&model=iris")["jobs"]] == [hub_jobs.FAILED]
    assert pages.data("/jobs?model=wine")["jobs"] == []


def test_older_jobs_come_on_pages_of_their_own(registry, pages):
    registry.jobs.add([hub_jobs.submission(f"{number:032x}") for number in range(120)], most_waiting=999)
    seen, older = [], ""
    while True:
        page = pages.data(f"/jobs?model=iris&before={older}")
        seen += [row["id"] for row in page["jobs"]]
        older = page["older"]
        if not older:
            break
        assert f"before={older}" in pages.get(f"/jobs?model=iris&before={int(older) + 50}").text
    assert seen == [f"{number:032x}" for number in reversed(range(120))]


def test_a_job_is_displayed_without_its_request_its_answer_and_the_path_of_its_webhook(registry, pages):
    hub_jobs.store(registry)
    page = pages.get(f"/jobs/{hub_jobs.DONE}")
    for text in ("done", "iris:1", "status 200", "hooks.bank.example", "delivered", "/models/iris/predict"):
        assert text in text_of(page), text
    data = pages.data(f"/jobs/{hub_jobs.DONE}")
    assert (data["row"]["version"], data["side"], data["webhook_host"]) == (1, "live", "hooks.bank.example")
    assert "secret" not in page.text + str(data)
    assert "expected text, found none" in text_of(pages.get(f"/jobs/{hub_jobs.FAILED}"))
    assert "Nobody is called when it ends" in text_of(pages.get(f"/jobs/{hub_jobs.WAITING}"))


@pytest.mark.parametrize("query", ["state=asleep", "before=0", "before=x", "before=9999999999", "model=../x"])
def test_an_address_that_cannot_be_is_refused(pages, query):
    assert pages.get(f"/jobs?{query}").status_code == 400


def test_a_job_that_is_none_is_a_404(pages):
    for job_id in ("x", "%00", "a" * 500):
        assert pages.get(f"/jobs/{job_id}").status_code == 404
