"""How a bundle reaches another machine, and how that machine knows the folder and the files of a run."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lading.batch.inputs import find_inputs
from lading.batch.plan import make_plan
from lading.batch.shipping import (
    Shipment,
    Station,
    bundle_bytes,
    check_buckets,
    check_input,
    check_libraries,
    check_shared,
    libraries,
    machine,
    shared_mark,
    unpacked,
)
from lading.batch.spool import spooling
from lading.batch.survey import look_at
from lading.batch.tables import open_table
from lading.batch.work import Work
from lading.bundle import Bundle
from lading.errors import BodyInvalid, BundleError, DigestMismatch, NotSupported, RegistryUnavailable
from lading.runtime.python.host import DEFAULT_HOST
from support.s3_faults import Refuse

# Says whether this process was the one that fetched.
WORKER = """
import json, sys
from pathlib import Path
from lading.batch.shipping import unpacked
tar, digest, cache = sys.argv[1:]
fetched = []
def fetch():
    fetched.append(1)
    return open(tar, "rb")
print("ready", flush=True)
sys.stdin.readline()
bundle = unpacked(digest, fetch, Path(cache))
print(json.dumps([len(fetched), str(bundle.path), bundle.digest]))
"""


def test_a_bundle_is_shipped_as_the_same_bytes_always(iris):
    assert bundle_bytes(iris.path, iris.digest) == bundle_bytes(iris.path, iris.digest)


def test_a_shipped_bundle_is_unpacked_once_and_found_by_its_digest(tmp_path, iris):
    tar, fetched = bundle_bytes(iris.path, iris.digest), []

    def fetch():
        fetched.append(1)
        return io.BytesIO(tar)

    first = unpacked(iris.digest, fetch, tmp_path)
    second = unpacked(iris.digest, fetch, tmp_path)
    assert (first.digest, second.path, len(fetched)) == (iris.digest, first.path, 1)
    assert Bundle.open(first.path, digest=iris.digest).manifest == iris.manifest


@pytest.mark.slow
def test_of_four_workers_of_a_machine_one_unpacks(tmp_path, iris):
    tar = tmp_path / "bundle.tar"
    tar.write_bytes(bundle_bytes(iris.path, iris.digest))
    command = [sys.executable, "-c", WORKER, str(tar), iris.digest, str(tmp_path / "cache")]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    answers = [json.loads(worker.communicate("go\n", timeout=60)[0]) for worker in workers]
    assert sum(fetched for fetched, _, _ in answers) == 1
    assert {(path, digest) for _, path, digest in answers} == {(answers[0][1], iris.digest)}


def test_a_damaged_copy_is_unpacked_again(tmp_path, iris):
    tar = bundle_bytes(iris.path, iris.digest)
    path = unpacked(iris.digest, lambda: io.BytesIO(tar), tmp_path).path
    (path / "model.onnx").write_bytes(b"other bytes")
    bundle = unpacked(iris.digest, lambda: io.BytesIO(tar), tmp_path)
    assert (bundle.path / "model.onnx").read_bytes() == iris.model_path.read_bytes()


@pytest.mark.parametrize("damage", ["truncated", "changed"])
def test_damaged_bytes_are_refused_and_nothing_is_left_of_them(tmp_path, iris, damage):
    tar = bundle_bytes(iris.path, iris.digest)
    at = tar.index(iris.model_path.read_bytes()[:64])
    damaged = tar[:-2000] if damage == "truncated" else tar[:at] + b"\xff" + tar[at + 1 :]
    with pytest.raises(BundleError):
        unpacked(iris.digest, lambda: io.BytesIO(damaged), tmp_path)
    assert not list(tmp_path.glob("[0-9a-f]*"))


def test_the_bytes_of_another_bundle_are_refused(tmp_path, iris):
    tar = bundle_bytes(iris.path, iris.digest)
    with pytest.raises(DigestMismatch):
        unpacked("sha256:" + 64 * "0", lambda: io.BytesIO(tar), tmp_path)


def test_a_cache_that_cannot_be_written_to_is_named(tmp_path, iris):
    (tmp_path / "file").write_text("")
    tar = bundle_bytes(iris.path, iris.digest)
    with pytest.raises(RegistryUnavailable, match="file"):
        unpacked(iris.digest, lambda: io.BytesIO(tar), tmp_path / "file" / "cache")


def test_the_cache_is_the_one_of_the_environment(tmp_path, iris, monkeypatch):
    monkeypatch.setenv("LADING_CACHE", str(tmp_path / "cache"))
    tar = bundle_bytes(iris.path, iris.digest)
    assert unpacked(iris.digest, lambda: io.BytesIO(tar)).path.parent == tmp_path / "cache"


def test_a_folder_is_known_by_its_mark_while_the_run_lasts(tmp_path):
    parts = tmp_path / ".lading" / "parts"
    parts.mkdir(parents=True)
    with shared_mark(parts) as mark:
        check_shared(mark)
    with pytest.raises(NotSupported, match="the folder of the run"):
        check_shared(mark)
    assert list((tmp_path / ".lading").iterdir()) == [parts]


def test_an_input_that_a_machine_does_not_see_is_named(parquet):
    path = parquet("rows.parquet", 10)
    file = find_inputs([path]).files[0]
    check_input(file)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(NotSupported, match=r"input `.*rows.parquet` on `.*`: expected the file of the run"):
        check_input(file)
    path.unlink()
    with pytest.raises(NotSupported, match="storage that every machine mounts"):
        check_input(file)


@pytest.fixture
def shipped(tmp_path, iris, parquet, monkeypatch):
    """Return a run as another machine gets it, and the tar of its bundle."""
    monkeypatch.setenv("LADING_CACHE", str(tmp_path / "cache"))
    files = find_inputs([parquet("rows.parquet", 100)]).files
    plan = make_plan(files, iris.digest, "iris", iris.manifest.signature, ())
    parts = tmp_path / "out" / ".lading" / "parts"
    parts.mkdir(parents=True)
    # The folder of the bundle is none that another machine would have.
    work = Work(tmp_path / "elsewhere", iris.digest, plan, parts, DEFAULT_HOST)
    with shared_mark(parts) as mark:
        yield Shipment(work, mark, libraries()), bundle_bytes(iris.path, iris.digest)


def test_a_station_scores_what_was_shipped_to_it_without_the_folder_of_the_bundle(shipped, iris, tmp_path):
    shipment, tar = shipped
    (task,) = shipment.work.plan.tasks
    station = Station(shipment, lambda: io.BytesIO(tar))
    kind, done = station.answer(task)
    station.close()
    assert kind == "done"
    here = replace(shipment.work, bundle=iris.path).scorer()
    assert here.score(task, tmp_path / "here") == done
    here.close()


def test_a_station_refuses_what_it_does_not_see_and_answers_what_fails_anywhere(shipped):
    shipment, tar = shipped
    (task,) = shipment.work.plan.tasks
    path = Path(shipment.work.plan.files[0].path)
    station = Station(shipment, lambda: io.BytesIO(tar))
    path.write_bytes(b"x" * path.stat().st_size)
    kind, error = station.answer(task)
    assert (kind, type(error)) == ("failed", BodyInvalid)
    path.unlink()
    kind, error = station.answer(task)
    assert (kind, type(error)) == ("refused", NotSupported)
    station.close()


def test_no_station_opens_where_the_output_is_another_folder(shipped):
    shipment, tar = shipped
    shipment.mark.unlink()
    with pytest.raises(NotSupported, match="the folder of the run"):
        Station(shipment, lambda: io.BytesIO(tar))


@pytest.fixture
def in_bucket(tmp_path, iris, parquet, bucket, monkeypatch):
    """Return a run from a bucket to a bucket as another machine gets it, and the tar of its bundle."""
    monkeypatch.setenv("LADING_CACHE", str(tmp_path / "cache"))
    url = bucket.put("rows.parquet", parquet("rows.parquet", 100))
    with spooling() as spool:
        files, spans = look_at(find_inputs([url], spool.connect).files, spool, open_table)
    plan = make_plan(files, iris.digest, "iris", iris.manifest.signature, (), spans=spans)
    work = Work(tmp_path / "elsewhere", iris.digest, plan, f"{bucket.url}/parts", DEFAULT_HOST)
    return Shipment(work, None, libraries()), bundle_bytes(iris.path, iris.digest)


@pytest.mark.slow
def test_a_machine_without_credentials_of_its_own_is_named_before_it_loads_anything(in_bucket, monkeypatch):
    shipment, _ = in_bucket
    check_buckets(shipment.work.plan, shipment.work.parts)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    match = rf"`s3://.*` on `{machine()}`: expected to read and write it, found Unable to locate credentials"
    with pytest.raises(RegistryUnavailable, match=match) as caught:
        Station(shipment, lambda: pytest.fail("the bundle was fetched"))
    assert "a profile or a role" in caught.value.hint


@pytest.mark.slow
def test_a_machine_that_reaches_a_bucket_no_more_is_refused_and_named(in_bucket, faulty):
    shipment, tar = in_bucket
    (task,) = shipment.work.plan.tasks
    station = Station(shipment, lambda: io.BytesIO(tar))
    faulty.fault = lambda asked: Refuse(403, "AccessDenied") if asked.method == "PUT" else None
    kind, error = station.answer(task)
    assert (kind, type(error)) == ("refused", RegistryUnavailable)
    assert f"on `{machine()}`: expected to read and write it, found" in error.message
    faulty.fault = lambda _: None
    assert station.answer(task)[0] == "done"
    station.close()


def test_a_library_of_another_version_is_refused_with_both():
    check_libraries(libraries())
    here = libraries()["pyarrow"]
    match = rf"`pyarrow` on `.*`: expected version 1.0, as where the run was started, found version {here}"
    with pytest.raises(NotSupported, match=match):
        check_libraries({**libraries(), "pyarrow": "1.0"})
    with pytest.raises(NotSupported, match=r"expected version 2.0, .*found none"):
        check_libraries({"no-such-package": "2.0"})
