"""The session that a run gets: the one that exists, or one of its own."""

from __future__ import annotations

import pytest

from lading.batch.on_spark import session as sessions
from lading.batch.on_spark.session import active_session, is_connect, spark_session
from lading.errors import NotSupported

pytestmark = pytest.mark.xdist_group("spark")


def test_a_session_that_is_active_is_used_and_stays(session):
    with spark_session("local[1]", 1, "another") as used:
        assert used is session
    assert active_session() is session
    assert session.range(3).count() == 3
    assert not is_connect(session)


def test_a_machine_without_java_is_refused_with_what_would_help(monkeypatch, tmp_path):
    monkeypatch.setattr(sessions, "active_session", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("SPARK_REMOTE", raising=False)
    with pytest.raises(NotSupported, match="Spark: expected Java 17 or newer on this machine, found none"):
        spark_session("", 1, "lading").__enter__()
