"""What is known against what runs, sent to people: once for each model, and again only for what is new."""

from __future__ import annotations

import pytest

from lading.monitor.alert_rules import AlertRules
from lading.monitor.alerting import Alerting
from lading.replica import ReplicaModel
from lading.trust.alerts import VulnerabilityFindings, alert_findings
from support.feeds import osv, write
from support.prometheus_servers import webhook
from support.scanned_servers import Clock, iris, replica
from support.waiting import wait_until


def test_a_vulnerability_is_a_finding_of_each_model_on_however_many_servers(registry, scanner):
    both = [replica("web-1", iris()), replica("web-2", iris(), ReplicaModel(name="churn", version=4))]
    for each in both:
        registry.fleet.beat(each)
    findings = alert_findings(both, scanner.turn())
    assert {(each.model, each.subject, each.version) for each in findings} == {
        ("iris", "jinja2 2.10 CVE-2019-10906", 1),
        ("churn", "jinja2 2.10 CVE-2019-10906", 4),
    }
    text = next(each.text for each in findings if each.model == "iris")
    assert text == "CVE-2019-10906 (high) in jinja2 2.10, fixed in 2.10.1: runs on server `web-1` and 1 more"


@pytest.mark.slow
def test_an_updated_feed_alerts_people_of_what_is_new_and_once(registry, feeds, scanner):
    clock = Clock()
    rule = '[[alert]]\nname = "known faults"\nwhen = "vulnerability"\nroute = "ops"\nrepeat = "1m"\n'
    registry.fleet.beat(replica("web-1", iris()))
    with webhook() as hook:
        rules = AlertRules.parse(f'{rule}[route.ops]\nwebhook = "{hook.url}"\n')
        more = VulnerabilityFindings(registry, clock)
        alerting = Alerting(registry, rules, clock=clock, more=more)
        scanner.turn()
        for _ in range(4):
            alerting.turn()
            clock.now += 3600
            wait_until(lambda: len(hook.bodies) == 1)
        write(feeds, "pypi/new.json", osv("PYSEC-2026-9", "numpy", {"introduced": "0"}))
        scanner.turn()
        for _ in range(3):
            alerting.turn()
            clock.now += 3600
            wait_until(lambda: len(hook.bodies) == 2)
        alerting.close()
    first, second = hook.bodies
    assert (first["kind"], first["model"], first["status"]) == ("vulnerability", "iris", "firing")
    assert "CVE-2019-10906 (high) in jinja2 2.10" in first["text"]
    assert second["finding"] == "PYSEC-2026-9 (severity unknown) in numpy 2.0.0: runs on server `web-1`"
