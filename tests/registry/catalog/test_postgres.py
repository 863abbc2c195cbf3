"""A registry in a real PostgreSQL: its errors when it cannot work, and how it recovers."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import event

from lading.errors import ExtraMissing, InvalidSetting, ModelNotFound, RegistryUnavailable
from lading.registry import Registry
from lading.registry.catalog import postgres as postgres_module
from lading.registry.open import cache_of, open_catalog
from lading.release import EventDraft, Plan, begin, verify_chain
from lading.traffic import Feedback
from support import release_processes as releasing
from support.bundles import linear_bundle
from support.recorded_evidence import push_proved
from support.registries import registry_over, rows_at
from support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("LADING_REGISTRY", "LADING_STORE", "LADING_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


def test_two_machines_share_a_registry(postgres, home, tmp_path, monkeypatch):
    url = postgres.database()
    monkeypatch.setenv("LADING_REGISTRY", url)
    monkeypatch.setenv("LADING_STORE", str(tmp_path / "blobs"))
    bundle = linear_bundle(tmp_path / "iris.bundle")
    with Registry.open() as here:
        assert here.where == url
        pushed = push_proved(here, bundle, tags=["good"])
        here.releases.begin("iris", 1, actor="ann")
    monkeypatch.setenv("HOME", str(tmp_path / "other"))
    with Registry.open() as there:
        assert there.resolve("iris").tags == ("good", "live")
        fetched = there.fetch("iris")
        assert fetched.digest == pushed.digest
        assert fetched.path.is_relative_to(tmp_path / "other" / ".lading" / "caches")
        report = there.gc(older_than_s=0)
        assert (report.removed, report.kept) == ((), 1)
    monkeypatch.setenv("LADING_CACHE", str(tmp_path / "cache"))
    with Registry.open() as there:
        assert there.fetch("iris").path.is_relative_to(tmp_path / "cache")


def test_each_registry_has_a_cache_of_its_own(home):
    urls = ["postgresql://a/one", "postgresql://a/two", str(home / "folder")]
    assert len({cache_of(url) for url in urls}) == 3


def test_a_database_without_a_store_is_refused_with_a_hint_where_to_name_one(home):
    with pytest.raises(InvalidSetting, match="a database keeps none") as caught:
        Registry.open("postgresql://lading@127.0.0.1:1/none")
    assert "LADING_STORE" in str(caught.value)


def test_a_password_is_never_shown(home, tmp_path):
    with pytest.raises(RegistryUnavailable) as caught:
        Registry.open("postgresql://ann:secret@127.0.0.1:1/none", store=str(tmp_path))
    assert "secret" not in str(caught.value)
    assert "ann:***@127.0.0.1" in str(caught.value)
    assert "Connection refused" in str(caught.value)
    assert "pg_isready" in caught.value.hint
    query = "user=ann&password=secret&passfile=/secret&sslpassword=secret&connect_timeout=3"
    with pytest.raises(RegistryUnavailable, match="Connection refused") as caught:
        Registry.open(f"postgresql://127.0.0.1:1/none?{query}", store=str(tmp_path))
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:1/none?connect_timeout=3&user=ann" in str(caught.value)
    with pytest.raises(InvalidSetting) as refused:
        Registry.open("postgresql://ann:secret@host:port/none", store=str(tmp_path))
    assert "secret" not in str(refused.value)


def test_a_database_that_does_not_exist_is_named(postgres):
    with pytest.raises(RegistryUnavailable, match='database "nowhere" does not exist') as caught:
        open_catalog(postgres.url("nowhere"))
    assert "createdb" in caught.value.hint


def test_a_user_without_rights_gets_a_hint_which_are_needed(postgres):
    url = postgres.database()
    open_catalog(url).close()
    database = url.rpartition("/")[2]
    postgres.execute("CREATE ROLE guest LOGIN")
    guest = url.replace("lading@", "guest@")
    try:
        with pytest.raises(RegistryUnavailable, match="permission denied") as caught:
            open_catalog(guest)
        assert "right to read and write" in caught.value.hint
        postgres.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest", database)
        catalog = open_catalog(guest)
        assert catalog.versions.models() == []
        with pytest.raises(RegistryUnavailable, match="permission denied"):
            catalog.versions.add(releasing.new_version(), (), lambda: None)
        catalog.close()
    finally:
        postgres.execute("DROP OWNED BY guest", database)
        postgres.execute("DROP ROLE guest")


def test_a_read_only_server_refuses_writes_with_a_hint_at_the_primary(postgres):
    url = postgres.database()
    open_catalog(url).close()
    catalog = open_catalog(f"{url}?options=-c%20default_transaction_read_only%3Don")
    assert catalog.versions.models() == []
    with pytest.raises(RegistryUnavailable, match="read-only transaction") as caught:
        catalog.fleet.beat(releasing.replica())
    assert "primary" in caught.value.hint
    catalog.close()


def test_without_psycopg_the_extra_is_named():
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from lading.registry.open import open_catalog\n"
        "try: open_catalog('postgresql://host/db')\n"
        "except Exception as error: print(type(error).__name__, error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{ExtraMissing.__name__} `pip install 'lading-ml[postgres]'`\n"


def test_a_catalog_opened_lazily_creates_its_tables_on_first_use_for_all_threads(postgres):
    url = postgres.database()
    postgres.stop()
    try:
        catalog = open_catalog(url, at_once=False)
        with pytest.raises(RegistryUnavailable):
            catalog.versions.models()
    finally:
        postgres.start()
    begin = threading.Barrier(8)

    def ask(_number: int) -> list[str]:
        begin.wait()
        return catalog.versions.models()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(8))) == [[]] * 8
    catalog.close()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_of_the_server_is_an_outage_that_the_next_call_recovers_from(postgres, mode):
    registry = rows_at(postgres.database())
    registry.catalog.versions.add(releasing.new_version(), (), lambda: None)
    before = registry.releases.begin("iris", 1, actor="ann")
    postgres.stop(mode)
    try:
        for act in (
            registry.releases.wanted,
            lambda: registry.fleet.lease("x", "a", 1),
            lambda: registry.fleet.beat(releasing.replica()),
        ):
            start = time.monotonic()
            with pytest.raises(RegistryUnavailable):
                act()
            assert time.monotonic() - start < 5
    finally:
        postgres.start()
    # The very next transaction finds the new server, over every connection of the pool.
    assert [registry.releases.wanted() for _ in range(8)] == [[before]] * 8
    assert registry.fleet.lease("x", "a", 1)
    registry.catalog.close()


def wait_for(items: list, more: int) -> None:
    """Wait until a thread has added so many more items."""
    before = len(items)
    wait_until(lambda: len(items) >= before + more)


def test_changes_during_restarts_are_made_once_or_not_at_all(postgres):
    url = postgres.database()
    registry = rows_at(url)
    for bundle in (1, 2):
        registry.catalog.versions.add(releasing.new_version(bundle=bundle), (), lambda: None)
    registry.releases.begin("iris", 1, actor="ann")
    registry.releases.begin("iris", 2, Plan(mode="canary"), actor="ann")
    done, stop, failed = [], threading.Event(), []

    def drive() -> None:
        while not stop.is_set():
            try:
                release = registry.releases.current("iris")
                to = f"{release.weight_percent + 0.01:.2f}"
                registry.releases.change(
                    release, weight_percent=float(to), event=EventDraft(kind="step", actor="d", to=to)
                )
                done.append(to)
            except RegistryUnavailable:
                failed.append(time.monotonic())
                stop.wait(0.01)

    driver = threading.Thread(target=drive)
    driver.start()
    for mode in ("immediate", "fast", "immediate"):
        wait_for(done, 20)
        postgres.stop(mode)
        wait_for(failed, 5)
        postgres.start()
    wait_for(done, 20)
    stop.set()
    driver.join(60)
    assert not driver.is_alive()
    events = registry.releases.events("iris")
    assert verify_chain(events) is None
    weights = [event.to for event in events if event.kind == "step"]
    # A confirmed change was made; one whose confirmation was lost may have been, once.
    assert set(done) <= set(weights)
    assert len(weights) == len(set(weights)) == registry.releases.current("iris").epoch - 1
    assert len(weights) - len(done) <= 3
    registry.catalog.close()


def test_a_server_that_does_not_answer_is_given_up_after_the_timeout(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        with pytest.raises(RegistryUnavailable, match="timeout"):
            open_catalog(f"postgresql://lading@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=2")
        assert time.monotonic() - start < 5


def test_a_lock_held_by_another_transaction_is_given_up_after_the_timeout(postgres, monkeypatch):
    for kind in postgres_module.LOCK_TIMEOUT_S:
        monkeypatch.setitem(postgres_module.LOCK_TIMEOUT_S, kind, 1)
    catalog = open_catalog(postgres.database())
    catalog.versions.add(releasing.new_version(), (), lambda: None)
    other = registry_over(catalog)
    with catalog.database.transaction("exclusive") as connection:
        from lading.registry.catalog.sql.version_rows import lock_model

        lock_model(connection, "iris")
        with pytest.raises(RegistryUnavailable, match="lock timeout") as caught:
            other.releases.begin("iris", 1, actor="ann")
        assert "another session" in caught.value.hint
        with pytest.raises(RegistryUnavailable, match="lock timeout"):
            catalog.versions.discard("sha256:1", lambda _: True)
        # Readers, beats and leases do not wait for it.
        assert other.releases.wanted() == []
        assert other.fleet.lease("rollout", "a", 5)
        other.fleet.beat(releasing.replica())
        with pytest.raises(ModelNotFound):
            other.releases("wine")
    catalog.close()


def test_feedback_that_is_committed_late_is_not_skipped(postgres):
    url = postgres.database()
    slow, quick, reader = (open_catalog(url) for _ in range(3))
    inserted, go = threading.Event(), threading.Event()

    def wait(_connection) -> None:
        inserted.set()
        go.wait(10)

    mark, _ = reader.traffic.feedback(None)
    event.listen(slow.database.engine, "commit", wait)
    first, second = (Feedback("iris", number, ("setosa",)) for number in ("first", "second"))
    threads = [threading.Thread(target=slow.traffic.add_feedback, args=([first],), kwargs={"kept_s": 300})]
    threads[0].start()
    assert inserted.wait(10)
    threads.append(
        threading.Thread(target=quick.traffic.add_feedback, args=([second],), kwargs={"kept_s": 300})
    )
    threads[1].start()
    # Long enough for the second to be committed before the first, if it could.
    threads[1].join(0.5)
    mark, read = reader.traffic.feedback(mark)
    go.set()
    for thread in threads:
        thread.join(10)
    read += reader.traffic.feedback(mark)[1]
    assert read == [first, second]
    for catalog in (slow, quick, reader):
        catalog.close()


@pytest.fixture
def locked(postgres):
    """A registry with a release, and a session that has locked the table of releases."""
    import psycopg

    url = postgres.database()
    registry = rows_at(url)
    registry.catalog.versions.add(releasing.new_version(), (), lambda: None)
    registry.releases.begin("iris", 1, actor="ann")
    with psycopg.connect(url) as session:
        session.execute("LOCK TABLE releases IN ACCESS EXCLUSIVE MODE")
        yield registry
    registry.catalog.close()


@pytest.mark.parametrize(
    "act",
    [
        lambda registry: registry.releases.current("iris"),
        lambda registry: registry.releases("iris"),
        lambda registry: registry.releases.begin("iris", 1, actor="ann"),
        lambda registry: registry.releases.rollback("iris", actor="ann"),
        lambda registry: registry.traffic.prune(dry_run=True),
    ],
)
def test_a_locked_table_is_not_waited_for_without_end(locked, monkeypatch, act):
    assert postgres_module.LOCK_TIMEOUT_S["read"] <= 10
    monkeypatch.setitem(postgres_module.LOCK_TIMEOUT_S, "read", 1)
    began = time.monotonic()
    with pytest.raises(RegistryUnavailable, match="lock timeout") as caught:
        act(locked)
    assert 1 <= time.monotonic() - began < 5
    assert "another session has locked" in caught.value.hint
    assert "\n" not in caught.value.message


def test_a_writer_of_a_locked_table_gives_up_as_well(locked, monkeypatch):
    monkeypatch.setitem(postgres_module.LOCK_TIMEOUT_S, "write", 1)
    at = "2026-01-01T00:00:00Z"
    release = begin(None, "iris", 1, Plan(mode="live"), actor="ann", at=at, runtime=None)
    with pytest.raises(RegistryUnavailable, match="lock timeout"):
        locked.releases.change(release, state="rolled_back", event=EventDraft(kind="rolled_back", actor="a"))


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_slow_statement_is_given_up(postgres, monkeypatch, kind):
    monkeypatch.setitem(postgres_module.STATEMENT_TIMEOUT_S, kind, 1)
    catalog = open_catalog(postgres.database())
    began = time.monotonic()
    with (
        pytest.raises(RegistryUnavailable, match="statement timeout") as caught,
        catalog.database.transaction(kind) as connection,
    ):
        connection.exec_driver_sql("SELECT pg_sleep(30)")
    assert time.monotonic() - began < 5
    assert "slow or overloaded" in caught.value.hint
    # A pooled connection is as it was.
    assert catalog.versions.models() == []
    catalog.close()
