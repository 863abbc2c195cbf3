"""Windows of columns on their way to the catalog: delivered once, and waited for in an outage."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import Self

import numpy as np
import pytest

from lading.alarms import Baseline
from lading.profile.encoding import digest as digest_of
from lading.profile.encoding import encode
from lading.profile.measure import measure
from lading.registry import Registry
from lading.server.inference.version import ServedVersion
from lading.server.observe import column_reports
from lading.server.observe.chunks import RowChunk
from lading.server.observe.column_reports import ColumnReports
from lading.server.observe.columns import ColumnWindows
from support.bundles import linear_bundle
from support.hosted_app import served_from
from support.read_only import read_only
from support.waiting import wait_until


@pytest.fixture
def served(tmp_path) -> ServedVersion:
    version = served_from(linear_bundle(tmp_path / "iris"))
    version.loaded = dataclasses.replace(version.model, profile=profile_of(version, 1000))
    return version


def profile_of(served: ServedVersion, rows: int):
    inputs = {"X": np.random.default_rng(rows).standard_normal((rows, 4)).astype(np.float32)}
    return measure(served.signature, inputs, served.run(inputs))


def answered(served: ServedVersion, rows: int = 10) -> RowChunk:
    inputs = {"X": np.zeros((rows, 4), np.float32)}
    return RowChunk(served=served, release=3, rows=rows, inputs=inputs, outputs=served.run(inputs))


@pytest.fixture
def registry(tmp_path) -> Iterator[Registry]:
    with Registry.open(str(tmp_path / "registry")) as opened:
        opened.models()  # Makes the catalog.
        yield opened


class Reporting:
    """Reports in a thread, as beside a server."""

    def __init__(self, url: str, columns: ColumnWindows) -> None:
        self.stop = threading.Event()
        reports = ColumnReports(url, columns, interval_s=0.02)
        self.thread = threading.Thread(target=reports.run, args=(self.stop,))
        self.thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()


def test_windows_arrive_with_their_profile_which_is_stored_once(served, registry, tmp_path):
    columns = ColumnWindows("replica-1", window_s=0.0)
    with Reporting(str(tmp_path / "registry"), columns):
        columns.add(answered(served))
        wait_until(lambda: len(registry.monitoring.windows("iris")) == 1)
        columns.add(answered(served, 5))
        wait_until(lambda: len(registry.monitoring.windows("iris")) == 2)
    first, second = registry.monitoring.windows("iris")
    assert (first.rows, second.rows, first.profile) == (10, 5, second.profile)
    assert registry.monitoring.profile(first.profile) == served.model.profile


def test_the_last_window_is_delivered_when_the_server_ends(served, registry, tmp_path):
    columns = ColumnWindows("replica-1", window_s=3600.0)
    columns.add(answered(served))
    with Reporting(str(tmp_path / "registry"), columns):
        assert registry.monitoring.windows("iris") == []
    (window,) = registry.monitoring.windows("iris")
    assert (window.rows, window.replica) == (10, "replica-1")


def test_windows_wait_for_a_catalog_that_is_out_of_reach(served, registry, tmp_path, caplog):
    columns = ColumnWindows("replica-1", window_s=0.0)
    folder, away = tmp_path / "registry", tmp_path / "away"
    registry.close()
    folder.rename(away)
    folder.write_text("no folder")
    with Reporting(str(folder), columns):
        columns.add(answered(served))
        wait_until(lambda: "catalog unreachable" in caplog.text)
        folder.unlink()
        away.rename(folder)
        with Registry.open(str(folder)) as again:
            wait_until(lambda: len(again.monitoring.windows("iris")) == 1)
    assert caplog.text.count("catalog unreachable") == 1


def test_a_baseline_is_fetched_and_counted_by_until_it_is_removed(served, registry, tmp_path, monkeypatch):
    monkeypatch.setattr(column_reports, "BASELINES_EVERY_S", 0.0)
    columns = ColumnWindows("replica-1", window_s=0.0)
    other = profile_of(served, 500)
    with Reporting(str(tmp_path / "registry"), columns):
        body = encode(other).decode()
        registry.monitoring.set_baseline(
            Baseline(name="iris", profile=body, set_at=1.0, set_by="ann", text="500 rows")
        )
        wait_until(lambda: columns.baselines == {"iris": other})
        columns.add(answered(served))
        wait_until(lambda: len(registry.monitoring.windows("iris")) == 1)
        registry.monitoring.remove_baseline("iris")
        wait_until(lambda: columns.baselines == {})
        columns.add(answered(served))
        wait_until(lambda: len(registry.monitoring.windows("iris")) == 2)
    profiles = [window.profile for window in registry.monitoring.windows("iris")]
    assert profiles == [digest_of(other), digest_of(served.model.profile)]


@pytest.mark.slow
def test_a_baseline_that_cannot_be_read_is_said_and_the_bundles_profile_counts(
    served, registry, tmp_path, caplog
):
    registry.monitoring.set_baseline(
        Baseline(name="iris", profile="{}", set_at=1.0, set_by="ann", text="nothing")
    )
    columns = ColumnWindows("replica-1", window_s=3600.0)
    columns.add(answered(served))
    with Reporting(str(tmp_path / "registry"), columns):
        wait_until(lambda: "the baseline of iris cannot be read" in caplog.text)
    assert columns.baselines == {}


def test_a_read_only_registry_ends_the_reports_with_a_warning(served, registry, tmp_path, caplog):
    registry.close()
    columns = ColumnWindows("replica-1", window_s=0.0)
    with read_only(tmp_path / "registry", tmp_path / "mounted") as mounted:
        columns.add(answered(served))
        with Reporting(str(mounted), columns) as reporting:
            reporting.thread.join(10)
            assert not reporting.thread.is_alive()
    assert "columns are not watched" in caplog.text
