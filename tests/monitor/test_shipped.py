"""Rules for Prometheus and the dashboard for Grafana: checked by their programs, and against our metrics."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from lading.cli.group import group
from lading.monitor.shipped import DASHBOARD, RULES, shipped
from support.bundles import linear_bundle
from support.prometheus_servers import TOOLS, alertmanager, needed, prometheus, query, webhook
from support.server_process import serving
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
VARIABLES = {"$job": ".*", "$model": ".*", "$__rate_interval": "1m", "$__range": "1h"}


def documented() -> set[str]:
    """Return every name of lading's page, and the three series of each histogram."""
    names = set()
    for name, unit in re.findall(
        r"^\| `(lading_\w+)` \| [^|]* \| ([^|]*) \|",
        (ROOT / "docs" / "reference" / "metrics.md").read_text(),
        re.MULTILINE,
    ):
        names.add(name)
        names |= {f"{name}_{end}" for end in ("bucket", "sum", "count")} if "histogram" in unit else set()
    return names


def expressions() -> Iterator[str]:
    """Yield every expression of the dashboard, its variables filled in."""
    board = json.loads(shipped(DASHBOARD))
    written = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    written += [annotation["expr"] for annotation in board["annotations"]["list"]]
    # The longer name first: `$job` must not be taken for the beginning of another.
    names = re.compile("|".join(re.escape(name) for name in sorted(VARIABLES, key=len, reverse=True)))
    for expression in written:
        yield names.sub(lambda match: VARIABLES[match.group()], expression)


@pytest.mark.parametrize("name", [RULES, DASHBOARD])
def test_every_metric_is_one_that_servers_have(name):
    text = re.sub(r"Lading\w+", "", shipped(name))
    names = set(re.findall(r"\blading_\w+", text))
    assert len(names) > 10
    assert not names - documented()


@pytest.mark.parametrize(("command", "name"), [("rules", RULES), ("dashboard", DASHBOARD)])
def test_a_command_prints_the_file(command, name):
    done = CliRunner().invoke(group, ["monitor", command])
    assert done.exit_code == 0
    assert done.output == shipped(name)


def test_every_rule_has_a_severity_and_says_what_happens():
    rules = shipped(RULES).split("- alert: ")[1:]
    assert len(rules) >= 12
    for rule in rules:
        assert re.search(r"severity: (page|warn|info)\n", rule), rule
        assert "summary: " in rule, rule
        assert "description: " in rule, rule


def test_panels_of_the_dashboard_do_not_overlap():
    taken: set[tuple[int, int]] = set()
    panels = json.loads(shipped(DASHBOARD))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells
        assert place["x"] + place["w"] <= 24
        taken |= cells


@needed("promtool")
@pytest.mark.slow
def test_the_rules_fire_when_they_should_and_not_before(tmp_path):
    rules = tmp_path / RULES
    rules.write_text(shipped(RULES))
    tests = tmp_path / "tests.yml"
    tests.write_text(
        (ROOT / "tests" / "data" / "prometheus_rules_test.yml").read_text().replace("RULES", RULES)
    )
    for command in (["check", "rules", str(rules)], ["test", "rules", str(tests)]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@needed(*TOOLS)
@pytest.mark.slow
def test_a_prometheus_evaluates_the_dashboard_and_sends_an_alert_of_a_real_server(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    rules = tmp_path / RULES
    # As shipped, but that an empty request is what is alerted on, and at once: nobody waits 5 minutes.
    quick = re.sub(r"for: \d+m", "for: 0s", shipped(RULES)).replace("[5m]", "[10s]")
    rules.write_text(quick.replace('reason="QueueFull"', 'reason="EmptyInput"'))
    with (
        webhook() as hook,
        alertmanager(tmp_path, hook) as manager,
        serving(bundle.path, flags=("--grpc-port", "-1")) as server,
        prometheus(tmp_path, server.url, rules, manager) as url,
    ):
        wait_until(lambda: query(url, "up{job='lading'} == 1"), 20)

        def fires() -> bool:
            httpx.post(f"{server.url}/predict", json={"data": [[1, 2, 3, 4]]})
            httpx.post(f"{server.url}/predict", json={"data": []})
            return bool(hook.alerts("firing"))

        wait_until(fires, 20, lambda: query(url, "ALERTS"))
        alert = hook.alerts("firing")[0]
        assert alert["labels"]["alertname"] == "LadingQueueFull"
        assert alert["labels"]["severity"] == "page"
        assert "refuses requests for iris" in alert["annotations"]["summary"]
        with_series = [expression for expression in expressions() if query(url, expression)]
        assert len(with_series) > 20
