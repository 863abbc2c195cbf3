"""What is stored of a catalog's last answers, and when it is not used."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest

from lading.errors import RegistryUnavailable, VersionNotFound
from lading.ref import Ref
from lading.registry import ModelVersion, Registry
from lading.registry.offline import FRESH_S, LastKnown
from lading.release import Plan
from support.bundles import linear_bundle
from support.recorded_evidence import push_proved


@pytest.fixture
def registry(tmp_path):
    with Registry.open(str(tmp_path / "registry")) as opened:
        push_proved(opened, linear_bundle(tmp_path / "iris"), tags=["best"])
        yield opened


@pytest.fixture
def version(registry) -> ModelVersion:
    return registry.resolve("iris:1")


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def known(folder: Path, where: str = "postgresql://one", clock: Clock | None = None) -> LastKnown:
    return LastKnown(folder, where, clock or Clock())


def test_numbers_and_digests_are_kept_and_tags_are_not(tmp_path, version):
    known(tmp_path).keep(version)
    for ref in (version.ref, Ref("iris", digest=version.digest)):
        kept = known(tmp_path).version(ref)
        assert (kept.digest, kept.blob, kept.tags) == (version.digest, version.blob, ())
    assert version.tags == ("best",)


@pytest.mark.parametrize(
    "ref", ["iris", "iris:best", "iris:live", "iris:2", "other:1", f"iris@sha256:{'0' * 64}"]
)
def test_any_other_reference_is_unknown(tmp_path, version, ref):
    known(tmp_path).keep(version)
    assert known(tmp_path).version(Ref.parse(ref)) is None


def test_registries_that_share_a_cache_do_not_answer_for_each_other(tmp_path, version):
    known(tmp_path).keep(version)
    assert known(tmp_path, "postgresql://two").version(version.ref) is None


def test_a_file_under_the_name_of_another_version_is_ignored(tmp_path, version):
    known(tmp_path).keep(version)
    (mine,) = tmp_path.rglob("iris@1.json")
    mine.rename(mine.with_name("iris@2.json"))
    assert known(tmp_path).version(Ref("iris", version=2)) is None


def test_a_file_that_cannot_be_read_is_ignored_and_logged_once(tmp_path, version, caplog):
    last_known = known(tmp_path)
    last_known.keep(version)
    for path in tmp_path.rglob("*.json"):
        path.write_text("{")
    assert last_known.version(version.ref) is None
    assert last_known.version(version.ref) is None
    assert len([line for line in caplog.messages if "the catalog answered last" in line]) == 1


def test_wanted_releases_are_known_while_they_are_fresh(tmp_path, registry, version):
    clock = Clock()
    release = registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    last_known = known(tmp_path, clock=clock)
    assert last_known.wanted() is None
    last_known.keep_wanted([release], [version])
    (path,) = tmp_path.rglob("followed.json")
    os.utime(path, (clock.now,) * 2)
    assert last_known.wanted().releases == (release,)
    assert last_known.wanted().versions == (version,)
    assert last_known.version(version.ref).digest == version.digest
    clock.now += FRESH_S - 1
    last_known.confirm()  # Nothing has changed until now.
    os.utime(path, (clock.now,) * 2)
    clock.now += FRESH_S - 1
    assert last_known.wanted() is not None
    clock.now += 2
    assert last_known.wanted() is None


def test_a_number_that_names_another_bundle_now_is_kept_again_and_so_is_a_damaged_file(tmp_path, version):
    known(tmp_path).keep(version)
    other = msgspec.structs.replace(version, digest=f"sha256:{1:064x}")
    known(tmp_path).keep(other)
    assert known(tmp_path).version(version.ref).digest == other.digest
    (path,) = tmp_path.rglob("iris@1.json")
    path.write_text("{")
    known(tmp_path).keep(version)
    assert known(tmp_path).version(version.ref).digest == version.digest


def test_older_wanted_releases_are_dropped_if_the_newer_cannot_be_stored(
    tmp_path, registry, version, monkeypatch
):
    clock = Clock()
    last_known = known(tmp_path, clock=clock)
    last_known.keep_wanted([registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")], [version])
    (path,) = tmp_path.rglob("followed.json")
    os.utime(path, (clock.now,) * 2)
    assert last_known.wanted() is not None

    def full(_path: Path, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        last_known.keep_wanted([], [])
        assert last_known.wanted() is None
        clock.now += 100
        last_known.confirm()
        assert last_known.wanted() is None
    assert [file.name for file in tmp_path.rglob("followed*")] == []
    clock.now += 100
    last_known.confirm()  # There is room again.
    (path,) = tmp_path.rglob("followed.json")
    os.utime(path, (clock.now,) * 2)
    assert last_known.wanted().releases == ()


def test_wanted_releases_from_the_future_are_ignored(tmp_path):
    clock = Clock()
    last_known = known(tmp_path, clock=clock)
    last_known.keep_wanted([], [])
    (path,) = tmp_path.rglob("followed.json")
    os.utime(path, (clock.now + 3000,) * 2)
    assert last_known.wanted() is None


def test_without_a_writable_folder_nothing_is_known(tmp_path, version, registry, caplog):
    (tmp_path / "known").write_text("a file where a folder should be")
    last_known = known(tmp_path / "known")
    last_known.keep(version)
    last_known.keep_wanted([], [])
    last_known.confirm()
    assert last_known.version(version.ref) is None
    assert last_known.wanted() is None
    assert "the catalog answered last" in caplog.text


def test_a_registry_resolves_and_fetches_what_it_knows_while_its_catalog_is_unreachable(
    registry, monkeypatch
):
    resolved = registry.known("iris:1")
    with pytest.raises(VersionNotFound):
        registry.known("iris:2")

    def unreachable(_ref: Ref) -> None:
        raise RegistryUnavailable("catalog", expected="an answer", found="none")

    monkeypatch.setattr(registry.catalog.versions, "find", unreachable)
    known = registry.known("iris:1")
    assert (known.digest, known.tags) == (resolved.digest, ())
    assert registry.fetch(known).digest == resolved.digest
    for ref in ("iris", "iris:best", "iris:2"):
        with pytest.raises(RegistryUnavailable):
            registry.known(ref)
