"""Which images of a repository are kept, and why."""

from __future__ import annotations

import pytest

from lading.image.inspect import ImageSummary
from lading.image.labels import BundleEntry
from lading.image.prune import decide, reasons_to_keep
from lading.registry import Registry
from lading.release import Plan
from lading.replica import Replica, ReplicaModel
from support.bundles import linear_bundle
from support.recorded_evidence import push_proved


def entry(name: str, version: int) -> BundleEntry:
    digest = f"sha256:{version:064d}"
    return BundleEntry(name=name, version=version, digest=digest, blob=digest, purpose="p", owner="o")


def summary(*entries: BundleEntry) -> ImageSummary:
    digest = f"sha256:{sum(entry.version for entry in entries):064d}"
    return ImageSummary(digest=digest, tags=("t",), bundles=list(entries), runtime={}, size_bytes=1)


def test_an_image_is_kept_while_one_of_its_bundles_is_needed():
    reasons = {"iris": {entry("iris", 2).digest: ["release 4"]}, "wine": {}}
    old, new = summary(entry("iris", 1)), summary(entry("iris", 2))
    both = summary(entry("wine", 1), entry("iris", 2))
    decisions = decide([old, new, both], reasons)
    assert [decision.kept_by for decision in decisions] == [(), ("release 4",), ("release 4",)]


def test_runtimes_and_images_of_unknown_models_are_kept():
    foreign, runtime = decide([summary(entry("else", 1)), summary()], {"iris": {}})
    assert foreign.kept_by == ("`else` is not a model of this registry",)
    assert runtime.kept_by == ("it holds no bundle",)


@pytest.mark.slow
def test_the_last_versions_the_current_release_and_running_servers_keep_a_bundle(tmp_path):
    with Registry.open(str(tmp_path / "registry")) as registry:
        versions = [
            push_proved(registry, linear_bundle(tmp_path / str(seed), seed=seed)) for seed in range(4)
        ]
        registry.releases.begin("iris", 2, Plan(mode="live"), actor="me")
        running = ReplicaModel(name="iris", version=1, digest=versions[0].digest, state="ready")
        registry.fleet.beat(Replica(id="web-1", models=(running,)))
        reasons = reasons_to_keep(registry, {"iris", "unknown"}, keep=1)
    assert reasons == {
        "iris": {
            versions[0].digest: ["replica `web-1`"],
            versions[1].digest: ["release 1"],
            versions[3].digest: ["one of the last 1 versions"],
        }
    }
