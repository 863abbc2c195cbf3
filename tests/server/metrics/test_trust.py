"""Metrics of the trust policy: its digest, and a row for each version that it does not let in."""

from __future__ import annotations

import dataclasses

from lading.server.inference.dataplane import DataPlane
from lading.server.metrics import Metrics
from lading.server.metrics.trust import trust_families


def rows(**facts) -> list[tuple[str, dict[str, str], float]]:
    summary = dataclasses.replace(Metrics(DataPlane()).summary(), **facts)
    return [
        (sample.name, sample.labels, sample.value)
        for family in trust_families(summary)
        for sample in family.samples
    ]


def test_a_server_without_a_policy_says_that_it_has_none():
    assert rows() == [("lading_trust_policy_info", {"digest": "none"}, 1)]


def test_what_is_not_let_in_is_a_row_that_says_whether_it_answers_all_the_same():
    refused = {("iris", "1"): True, ("churn", "4"): False}
    policy, *versions = rows(trust_policy="sha256:ab", trust_refused=refused)
    assert policy == ("lading_trust_policy_info", {"digest": "sha256:ab"}, 1)
    assert versions == [
        ("lading_trust_refused", {"model": "iris", "version": "1", "loaded": "yes"}, 1),
        ("lading_trust_refused", {"model": "churn", "version": "4", "loaded": "no"}, 1),
    ]
