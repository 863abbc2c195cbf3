"""Files for those who have Prometheus and Grafana: alerting rules, and a dashboard. Fills nothing in."""

from __future__ import annotations

from importlib.resources import files

RULES = "prometheus_rules.yml"
DASHBOARD = "grafana_dashboard.json"


def shipped(name: str) -> str:
    """Return the text of one of these files."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
