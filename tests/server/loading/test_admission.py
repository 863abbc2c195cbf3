"""What is asked before a bundle is loaded in an image: failed evidence stops it, no answer does not."""

from __future__ import annotations

import msgspec
import pytest

from lading.errors import EvidenceFailed, ExtraMissing, InvalidSetting, RegistryUnavailable
from lading.evidence import Check, Evidence
from lading.registry import Registry
from lading.runtime.host.fingerprint import fingerprint
from lading.server.loading.admission import guarded, guarded_all
from lading.server.loading.manager import Wanted
from support.bundles import linear_bundle

IMAGE = "sha256:" + "a" * 64


@pytest.fixture
def wanted(tmp_path, monkeypatch) -> Wanted:
    monkeypatch.setenv("LADING_IMAGE", IMAGE)
    bundle = linear_bundle(tmp_path / "iris")
    return Wanted("iris", 1, bundle.digest, lambda: bundle)


def asked_first(wanted: Wanted, tmp_path, url: str) -> Wanted:
    (one,) = guarded_all([tmp_path / "iris"], [wanted], url)
    return one


def test_the_catalog_alone_is_asked_wherever_the_store_is(wanted, tmp_path, monkeypatch):
    url = str(tmp_path / "registry")
    with Registry.open(url) as registry:
        check = Check("equivalence", "failed", expected="the same answers", found="3 of 304 rows differ")
        here = msgspec.structs.replace(fingerprint(), image=IMAGE)
        failed = Evidence(
            bundle=wanted.digest,
            name="iris",
            fingerprint=here,
            checks=(check,),
            numbers={},
            measured_at="2026-11-20T10:00:00+00:00",
        )
        registry.record(failed)
    monkeypatch.setenv("LADING_STORE", "ftp://no.such.store")
    with pytest.raises(EvidenceFailed, match="3 of 304 rows differ"):
        asked_first(wanted, tmp_path, url).open()


def test_a_database_for_the_inventory_needs_no_store_beside_it(wanted, tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("LADING_STORE", raising=False)
    asked = asked_first(wanted, tmp_path, "postgresql://127.0.0.1:1/lading")
    assert asked.open().digest == wanted.digest
    assert "no evidence of iris can be asked for" in caplog.text
    assert "LADING_STORE" not in caplog.text


@pytest.mark.parametrize("kind", [RegistryUnavailable, InvalidSetting, ExtraMissing])
def test_whatever_keeps_evidence_from_being_asked_for_stops_no_bundle(wanted, caplog, kind):
    def ask(_: str) -> list[Evidence]:
        raise kind("the registry", expected="it", found="none")

    assert guarded(wanted, ask).open().digest == wanted.digest
    assert "no evidence of iris can be asked for: the registry: expected it, found none" in caplog.text


def test_outside_an_image_nothing_is_asked(wanted, monkeypatch):
    monkeypatch.delenv("LADING_IMAGE")
    assert guarded(wanted, lambda _: pytest.fail("asked")) is wanted
