"""The service of jobs: off without the setting, on over a registry."""

from __future__ import annotations

import pytest

from lading.errors import InvalidSetting
from lading.server.jobs.service import job_service
from lading.settings import ServeSettings
from support.hosted_jobs import hosted_jobs


def test_without_the_setting_there_is_none(tmp_path):
    with job_service(ServeSettings(), str(tmp_path / "r")) as service:
        assert service is None
    assert not (tmp_path / "r").exists()


def test_a_secret_that_cannot_be_read_fails_the_start(tmp_path):
    settings = ServeSettings(jobs="on", job_webhook_secret_file=str(tmp_path / "none"))
    with pytest.raises(InvalidSetting), job_service(settings, str(tmp_path / "r")):
        pass


def test_two_servers_share_the_jobs_of_a_registry(tmp_path, iris):
    with hosted_jobs(tmp_path / "r", iris, runs=False) as first, hosted_jobs(tmp_path / "r", iris) as second:
        accepted = first.post("/models/iris/jobs", {"data": [[1, 2, 3, 4]]})
        assert second.ended(accepted.headers["location"])["state"] == "done"
        assert first.get(accepted.headers["location"]).json()["state"] == "done"
