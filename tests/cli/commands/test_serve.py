"""Serving from the command line: the flags, and the bundles of an image."""

from __future__ import annotations

import msgspec
import pytest

from lading.evidence import Check, Evidence
from lading.registry import Registry
from support.bundles import linear_bundle
from support.server_process import serving


def test_a_server_in_an_image_serves_its_bundles_without_a_registry(tmp_path):
    for at, name in enumerate(("iris", "wine")):
        linear_bundle(tmp_path / "bundles" / name, name, seed=at)
    environ = {"LADING_BUNDLES": str(tmp_path / "bundles"), "HOME": str(tmp_path / "home")}
    with serving(environ=environ) as server:
        server.wait_until(lambda: server.log.count("is ready") == 2)
        ready = [line for line in server.lines if "is ready" in line]
        assert [line.split("INFO ")[1].split(" is")[0] for line in ready] == ["iris", "wine"]
        assert server.stop() == 0
    assert not (tmp_path / "home").exists()


def test_references_take_precedence_over_the_bundles_of_the_image(tmp_path):
    linear_bundle(tmp_path / "bundles" / "iris")
    other = linear_bundle(tmp_path / "wine.bundle", "wine")
    with serving(other.path, environ={"LADING_BUNDLES": str(tmp_path / "bundles")}) as server:
        server.wait_until(lambda: "wine is ready" in server.log)
        assert "iris" not in server.log


IMAGE = "sha256:" + "a" * 64


def failed_here(bundle) -> Evidence:
    """Make evidence that a bundle failed in the image `IMAGE`, on the software of this process."""
    from lading.runtime.host.fingerprint import fingerprint

    return Evidence(
        bundle=bundle.digest,
        name="iris",
        fingerprint=msgspec.structs.replace(fingerprint(), image=IMAGE),
        checks=(
            Check("equivalence", "failed", expected="bit-identical answers", found="3 of 304 rows differ"),
        ),
        numbers={},
        measured_at="2026-11-20T10:00:00+00:00",
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["reference", "directory"])
def test_a_bundle_that_failed_on_this_image_is_refused_with_the_evidence(tmp_path, form):
    import httpx

    bundle = linear_bundle(tmp_path / "bundles" / "iris")
    url = str(tmp_path / "registry")
    with Registry.open(url) as registry:
        registry.push(bundle)
        registry.record(failed_here(bundle))
    environ = {"LADING_REGISTRY": url, "LADING_IMAGE": IMAGE, "LADING_BUNDLES": str(tmp_path / "bundles")}
    refs = ("iris:1",) if form == "reference" else ()
    with serving(*refs, environ=environ, ready=False) as server:
        server.wait_until(lambda: "refused" in server.log)
        health = httpx.get(f"{server.url}/health")
        assert health.status_code == 503
        assert "3 of 304 rows differ" in health.text
        assert IMAGE in health.text
    # On another image nothing is known against it.
    with serving(*refs, environ={**environ, "LADING_IMAGE": "sha256:" + "b" * 64}) as server:
        server.wait_until(lambda: "is ready" in server.log)
