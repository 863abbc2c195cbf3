"""Evidence that is checked before a bundle loads in an image: if it failed the bundle is not served."""

from __future__ import annotations

import msgspec
import pytest

from lading.errors import EvidenceFailed, ExtraMissing, InvalidSetting, RegistryUnavailable
from lading.evidence import Check, Evidence
from lading.registry import Registry
from lading.runtime.host.fingerprint import fingerprint
from lading.server.loading.admission import CatalogBook, with_admission, with_admission_each
from lading.server.loading.policy import Wanted
from support.bundles import linear_bundle

IMAGE = "sha256:" + "a" * 64


@pytest.fixture
def wanted(tmp_path, monkeypatch) -> Wanted:
    monkeypatch.setenv("LADING_IMAGE", IMAGE)
    bundle = linear_bundle(tmp_path / "iris")
    return Wanted("iris", 1, bundle.digest, lambda: bundle)


def checked_in(url: str, wanted: Wanted, tmp_path) -> Wanted:
    (version,) = with_admission_each([tmp_path / "iris"], [wanted], url)
    return version


def test_only_the_catalog_is_asked_and_the_store_need_not_exist(wanted, tmp_path, monkeypatch):
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
        checked_in(url, wanted, tmp_path).open()


def test_a_database_for_the_inventory_needs_no_store(wanted, tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("LADING_STORE", raising=False)
    checked = checked_in("postgresql://127.0.0.1:1/lading", wanted, tmp_path)
    assert checked.open().digest == wanted.digest
    assert "the evidence about iris cannot be looked up" in caplog.text
    assert "LADING_STORE" not in caplog.text


@pytest.mark.parametrize("kind", [RegistryUnavailable, InvalidSetting, ExtraMissing])
def test_evidence_that_cannot_be_looked_up_stops_no_bundle(wanted, caplog, kind):
    class Unreachable(CatalogBook):
        def evidence(self, digest: str) -> list[Evidence]:  # noqa: ARG002
            raise kind("the registry", expected="it", found="none")

    assert with_admission(wanted, Unreachable(None)).open().digest == wanted.digest
    message = "the evidence about iris cannot be looked up: the registry: expected it, found none"
    assert message in caplog.text


def test_outside_an_image_no_evidence_is_checked(wanted, monkeypatch):
    monkeypatch.delenv("LADING_IMAGE")
    book = CatalogBook("postgresql://127.0.0.1:1/lading")  # where nobody answers
    admitted = with_admission(wanted, book)
    assert (admitted.open, admitted.book) == (wanted.open, book)
