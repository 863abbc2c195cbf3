"""Metrics of the trust policy: which one a server runs under, and what it does not let in."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from lading.server.metrics import Summary


def trust_families(summary: Summary) -> Iterator[Metric]:
    """Return what is known of the trust policy, as the answering worker knows it."""
    info = GaugeMetricFamily(
        "lading_trust_policy_info", "1, with the digest of the trust policy, or `none`.", labels=["digest"]
    )
    # An info metric, 1 with labels: a fleet shows at a glance which servers have an older policy.
    info.add_metric([summary.trust_policy or "none"], 1)
    refused = GaugeMetricFamily(
        "lading_trust_refused",
        "1 for a version that the trust policy does not let in; `loaded` is whether it answers all the same.",
        labels=["model", "version", "loaded"],
    )
    for (model, version), is_loaded in summary.trust_refused.items():
        refused.add_metric([model, version, "yes" if is_loaded else "no"], 1)
    yield from (info, refused)
