"""What is kept of a catalog's last words, and what is not taken for them."""

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


@pytest.fixture
def registry(tmp_path):
    with Registry.open(str(tmp_path / "registry")) as one:
        one.push(linear_bundle(tmp_path / "iris"), tags=["best"])
        yield one


@pytest.fixture
def version(registry) -> ModelVersion:
    return registry.resolve("iris:1")


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def known(folder: Path, where: str = "postgresql://one", clock: Clock | None = None) -> LastKnown:
    return LastKnown(folder, where, clock or Clock())


def test_a_number_and_a_digest_name_what_they_named_and_tags_are_not_kept(tmp_path, version):
    known(tmp_path).keep(version)
    for ref in (version.ref, Ref("iris", digest=version.digest)):
        found = known(tmp_path).version(ref)
        assert (found.digest, found.blob, found.tags) == (version.digest, version.blob, ())
    assert version.tags == ("best",)


@pytest.mark.parametrize(
    "ref", ["iris", "iris:best", "iris:live", "iris:2", "other:1", f"iris@sha256:{'0' * 64}"]
)
def test_nothing_else_is_known(tmp_path, version, ref):
    known(tmp_path).keep(version)
    assert known(tmp_path).version(Ref.parse(ref)) is None


def test_registries_that_share_a_cache_do_not_answer_for_each_other(tmp_path, version):
    known(tmp_path).keep(version)
    assert known(tmp_path, "postgresql://two").version(version.ref) is None


def test_a_file_that_names_something_else_is_not_believed(tmp_path, version):
    known(tmp_path).keep(version)
    (mine,) = tmp_path.rglob("iris@1.json")
    mine.rename(mine.with_name("iris@2.json"))
    assert known(tmp_path).version(Ref("iris", version=2)) is None


def test_a_file_that_cannot_be_read_is_as_none_and_the_log_says_so_once(tmp_path, version, caplog):
    one = known(tmp_path)
    one.keep(version)
    for path in tmp_path.rglob("*.json"):
        path.write_text("{")
    assert one.version(version.ref) is None
    assert one.version(version.ref) is None
    assert len([line for line in caplog.messages if "the catalog said last" in line]) == 1


def test_what_was_wanted_is_known_while_it_is_fresh(tmp_path, registry, version):
    clock = Clock()
    release = registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    one = known(tmp_path, clock=clock)
    assert one.followed() is None
    one.keep_followed([release], [version])
    (path,) = tmp_path.rglob("followed.json")
    os.utime(path, (clock.now,) * 2)
    assert one.followed().releases == (release,)
    assert one.followed().versions == (version,)
    assert one.version(version.ref).digest == version.digest
    clock.now += FRESH_S - 1
    one.heard()  # Nothing has changed until now.
    os.utime(path, (clock.now,) * 2)
    clock.now += FRESH_S - 1
    assert one.followed() is not None
    clock.now += 2
    assert one.followed() is None


def test_a_number_that_names_another_bundle_since_is_kept_anew_and_a_damaged_file_too(tmp_path, version):
    known(tmp_path).keep(version)
    other = msgspec.structs.replace(version, digest=f"sha256:{1:064x}")
    known(tmp_path).keep(other)
    assert known(tmp_path).version(version.ref).digest == other.digest
    (path,) = tmp_path.rglob("iris@1.json")
    path.write_text("{")
    known(tmp_path).keep(version)
    assert known(tmp_path).version(version.ref).digest == version.digest


def test_what_was_wanted_before_is_not_believed_where_what_came_after_could_not_be_kept(
    tmp_path, registry, version, monkeypatch
):
    clock = Clock()
    one = known(tmp_path, clock=clock)
    one.keep_followed([registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")], [version])
    (path,) = tmp_path.rglob("followed.json")
    os.utime(path, (clock.now,) * 2)
    assert one.followed() is not None

    def full(_path: Path, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        one.keep_followed([], [])
        assert one.followed() is None
        clock.now += 100
        one.heard()
        assert one.followed() is None
    assert [file.name for file in tmp_path.rglob("followed*")] == []
    clock.now += 100
    one.heard()  # There is room again.
    (path,) = tmp_path.rglob("followed.json")
    os.utime(path, (clock.now,) * 2)
    assert one.followed().releases == ()


def test_what_is_from_the_future_is_not_believed(tmp_path):
    clock = Clock()
    one = known(tmp_path, clock=clock)
    one.keep_followed([], [])
    (path,) = tmp_path.rglob("followed.json")
    os.utime(path, (clock.now + 3000,) * 2)
    assert one.followed() is None


def test_where_nothing_can_be_written_nothing_is_known(tmp_path, version, registry, caplog):
    (tmp_path / "known").write_text("a file where a folder should be")
    one = known(tmp_path / "known")
    one.keep(version)
    one.keep_followed([], [])
    one.heard()
    assert one.version(version.ref) is None
    assert one.followed() is None
    assert "the catalog said last" in caplog.text


def test_a_registry_knows_what_it_found_before_and_fetches_it_without_its_catalog(registry, monkeypatch):
    found = registry.known("iris:1")
    with pytest.raises(VersionNotFound):
        registry.known("iris:2")

    def away(_ref: Ref) -> None:
        raise RegistryUnavailable("catalog", expected="an answer", found="none")

    monkeypatch.setattr(registry.catalog.versions, "find", away)
    known = registry.known("iris:1")
    assert (known.digest, known.tags) == (found.digest, ())
    assert registry.fetch(known).digest == found.digest
    for ref in ("iris", "iris:best", "iris:2"):
        with pytest.raises(RegistryUnavailable):
            registry.known(ref)
