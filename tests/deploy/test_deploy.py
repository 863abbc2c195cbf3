"""What a person chooses, and a version as a workload: checks, names and memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.deploy import Options, object_name, workload
from lading.deploy.kubernetes import manifests
from lading.deploy.yamltext import documents
from lading.errors import InvalidSetting
from lading.ref import check_name
from support.workloads import DIGEST, IMAGE, version


def test_memory_without_evidence_is_estimated_from_the_size_and_marked_as_such():
    work = workload(version(size_bytes=200_000_000), Options(pattern="load", image=IMAGE), [])
    assert work.memory_mb == 600
    assert "estimated from its size" in " ".join(documents(manifests(work)).replace("# ", "").split())


@pytest.mark.parametrize("image", ["iris:3", "registry/iris", "", "a b@" + DIGEST, "x\n@" + DIGEST])
def test_in_image_requires_the_digest_of_the_image(image):
    with pytest.raises(InvalidSetting):
        Options(pattern="in-image", image=image)


@pytest.mark.parametrize(
    "option",
    [
        {"namespace": "Models"},
        {"secret": "a b"},
        {"cpus": 0},
        {"model_processes": 0},
        {"wheels_claim": "a b"},
    ],
)
def test_values_that_a_cluster_would_refuse_are_refused_here(option):
    with pytest.raises(InvalidSetting):
        Options(pattern="load", image=IMAGE, **option)


@pytest.mark.slow
@given(st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", fullmatch=True))
def test_every_model_name_gives_a_valid_dns_name(name):
    check_name(name)
    longest = object_name(name) + "-canary"
    assert len(longest) <= 63
    assert longest[0].isalpha()
    assert longest.replace("-", "").isalnum()


def test_no_two_models_share_an_object_name():
    models = ["a.b", "a-b", "a_b", "a--b", "1ab", "x" * 60, "x" * 61]
    models += ["iris", "iris-canary", "iris-canary-canary", "canary", object_name("a.b")]
    names = [object_name(model, side) for model in models for side in ("live", "candidate")]
    assert len({*names}) == 2 * len(models)
