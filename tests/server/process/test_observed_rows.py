"""What looks at the rows of requests, by the settings of a server."""

from __future__ import annotations

import pytest

from lading.server.inference.dataplane import DataPlane
from lading.server.metrics.shared_memory import PrivateCounters
from lading.server.process.observed_rows import observed_rows
from lading.settings import ServeSettings


def observing(plane: DataPlane | None = None, **settings):
    plane = plane or DataPlane()
    return observed_rows(ServeSettings(**settings), plane, None, None, "replica-1", PrivateCounters(1))


def test_columns_are_counted_and_inputs_checked_by_default():
    with observing() as rows:
        assert rows.columns is not None
        assert rows.predictions is None
        assert rows.checks.counts
        assert rows.observers == ()  # Runs are looked at, and no request by itself.


@pytest.mark.parametrize("drift", ["on", "off"])
def test_live_columns_are_not_counted_with_drift_off(drift):
    with observing(drift=drift) as rows:
        assert (rows.columns is not None) is (drift == "on")


@pytest.mark.parametrize("drift", ["on", "off"])
def test_nothing_is_collected_where_nothing_looks_at_rows(drift):
    plane = DataPlane()
    with observing(plane, drift=drift, input_checks="off"):
        assert (plane.show_run is not None) is (drift == "on")
