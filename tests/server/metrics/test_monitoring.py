"""What the monitor publishes, and what all workers show of it."""

from __future__ import annotations

from lading.server.metrics.monitoring import MOST_COLUMNS, MonitorGauges, monitor_families, monitor_status
from lading.server.metrics.shared_memory import PrivateCounters


def page_of(store: PrivateCounters) -> dict[str, float]:
    """Return the samples of the page by name and labels."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in monitor_families(monitor_status(store.workers()))
        for sample in family.samples
    }


def test_drift_and_alarms_are_shown_while_the_process_drives():
    store = PrivateCounters(1)
    gauges = MonitorGauges(store)
    assert page_of(store) == {"lading_monitor_driving": 0}
    gauges.publish(True, {"iris": {"age": 0.3}}, {("iris", "drift"): 1})
    page = page_of(store)
    assert page["lading_monitor_driving"] == 1
    assert page["lading_monitor_drift_psi iris age"] == 0.3
    assert page["lading_monitor_alarms iris drift"] == 1
    gauges.publish(False, {}, {})
    assert page_of(store) == {"lading_monitor_driving": 0}


def test_an_alarm_that_is_over_becomes_0_and_a_column_that_is_gone_disappears():
    store = PrivateCounters(1)
    gauges = MonitorGauges(store)
    gauges.publish(True, {"iris": {"age": 0.3}}, {("iris", "drift"): 1})
    gauges.publish(True, {"iris": {}}, {})
    page = page_of(store)
    assert page["lading_monitor_alarms iris drift"] == 0
    assert "lading_monitor_drift_psi iris age" not in page


def test_of_many_columns_those_that_drifted_most_have_a_gauge():
    store = PrivateCounters(1)
    gauges = MonitorGauges(store)
    columns = {f"x[{at}]": at / 1000 for at in range(1000)}
    gauges.publish(True, {"images": columns}, {})
    gauges.publish(True, {"images": dict.fromkeys(columns, 0.5)}, {})
    names = [name for name in page_of(store) if name.startswith("lading_monitor_drift_psi")]
    assert len(names) == MOST_COLUMNS
    assert "lading_monitor_drift_psi images x[999]" in names
