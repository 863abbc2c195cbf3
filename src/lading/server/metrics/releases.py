"""Metrics of what a server follows: releases, the verdict on them, the driver, the catalog, golden replays.

Releases, catalog and replays are as the answering worker knows them; the driver, which runs in one worker,
leaves its verdicts where all workers see them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from prometheus_client.core import GaugeMetricFamily, Metric

from lading.clock import unix_time
from lading.release import ReleaseState
from lading.server.metrics import VERDICTS, Summary

_MODEL = ["model"]


def release_families(summary: Summary) -> Iterator[Metric]:
    """Return what is known of releases, verdicts and the driver; nothing of a server that follows none."""
    if summary.following is None:
        return
    yield from _releases(summary)
    yield from _verdicts(summary)
    yield from _catalog(summary)


def replay_families(summary: Summary) -> Iterator[Metric]:
    """Return the last replay of the golden samples of each version, by which it became ready here."""
    labels = ["model", "version"]
    rows = GaugeMetricFamily("lading_replay_rows", "Golden rows replayed when it was loaded.", labels=labels)
    seconds = GaugeMetricFamily("lading_replay_seconds", "How long the replay took.", labels=labels)
    error = GaugeMetricFamily(
        "lading_replay_max_abs_error", "Largest difference to a golden output.", labels=labels
    )
    for replayed in summary.replays:
        key = [replayed.model, replayed.version]
        rows.add_metric(key, replayed.rows)
        seconds.add_metric(key, replayed.seconds)
        error.add_metric(key, replayed.max_abs_error)
    yield from (rows, seconds, error)


def _releases(summary: Summary) -> Iterator[Metric]:
    assert summary.following is not None
    number = GaugeMetricFamily("lading_release_number", "Number of the current release.", labels=_MODEL)
    state = GaugeMetricFamily(
        "lading_release_state", "1 for the state of the current release.", labels=[*_MODEL, "state"]
    )
    version = GaugeMetricFamily(
        "lading_release_version", "Version that is wanted, by role.", labels=[*_MODEL, "role"]
    )
    share = GaugeMetricFamily(
        "lading_release_candidate_share", "Share of requests to the candidate, 0 to 1.", labels=_MODEL
    )
    changed = GaugeMetricFamily(
        "lading_release_changed_timestamp_seconds", "When the release last changed.", labels=_MODEL
    )
    for release in summary.following.releases:
        number.add_metric([release.name], release.number)
        for name in get_args(ReleaseState):
            state.add_metric([release.name, name], release.state == name)
        for role, wanted in (("live", release.live), ("candidate", release.candidate)):
            if wanted is not None:
                version.add_metric([release.name, role], wanted)
        share.add_metric([release.name], release.weight_percent / 100)
        changed.add_metric([release.name], unix_time(release.changed_at))
    yield from (number, state, version, share, changed)


def _verdicts(summary: Summary) -> Iterator[Metric]:
    driving = GaugeMetricFamily("lading_rollout_driving", "1 if this server drives the rollouts.")
    driving.add_metric([], summary.driver is not None)
    turn = GaugeMetricFamily("lading_rollout_turn_timestamp_seconds", "When the driver last took a turn.")
    verdict = GaugeMetricFamily(
        "lading_release_verdict", "1 for the last verdict on the candidate.", labels=[*_MODEL, "verdict"]
    )
    if summary.driver is not None:
        turn.add_metric([], summary.driver.turn_at)
        for model, action in summary.driver.verdicts.items():
            for name in VERDICTS:
                verdict.add_metric([model, name], action == name)
    yield from (driving, turn, verdict)


def _catalog(summary: Summary) -> Iterator[Metric]:
    assert summary.following is not None
    reachable = GaugeMetricFamily("lading_catalog_reachable", "1 while the catalog answers, within 3 s.")
    reachable.add_metric([], summary.following.catalog_answers)
    answered = GaugeMetricFamily("lading_catalog_answer_timestamp_seconds", "When the catalog last answered.")
    if summary.following.catalog_answered_at:
        answered.add_metric([], summary.following.catalog_answered_at)
    waiting = GaugeMetricFamily(
        "lading_catalog_waiting_seconds", "How long the catalog has not answered what it is asked now."
    )
    waiting.add_metric([], summary.following.catalog_waiting_s)
    yield from (reachable, answered, waiting)
