"""`lading monitor dashboard`: what Grafana is given to read."""

from __future__ import annotations

import json


def test_the_dashboard_is_json_with_a_title_and_panels(lading):
    code, out, err = lading("monitor", "dashboard")
    dashboard = json.loads(out)
    assert (code, err) == (0, "")
    assert dashboard["title"]
    assert dashboard["panels"]
