"""Runs from a bucket to a bucket: the bytes of a run on this machine, whatever happens in between."""

from __future__ import annotations

import signal
import time

import msgspec
import pyarrow.parquet
import pytest

from lading.batch import objects as objects_module
from lading.batch import plan as planning
from lading.batch.checking import check_against, check_output
from lading.batch.ledger import Ledger
from lading.batch.objects import Objects
from lading.batch.places.bucket import BucketPlace
from lading.batch.places.lease import Holder
from lading.batch.recording import Recorder
from lading.batch.run import Options, run_batch
from lading.errors import BatchChanged, DestinationExists, NotSupported, OutputInUse
from support.batch_runs import HERE, dirty, files
from support.waiting import wait_until

pytestmark = pytest.mark.slow


def test_a_bucket_gets_the_bytes_that_a_folder_gets(tmp_path, iris, table, bucket, monkeypatch):
    monkeypatch.setattr(planning, "PART_ROWS", 10_000)
    source = dirty(tmp_path / "rows.parquet", table)
    run_batch(iris, [source], tmp_path / "out", HERE)
    url = bucket.put("in/rows.parquet", source)
    run = run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE)
    assert bucket.output("out") == files(tmp_path / "out")
    assert run.manifest.rejected == 200
    # Nothing but the plan and the records stays of the state, and no copy here.
    assert {name.split("/")[2] for name in bucket.names("out/.lading/")} == {"done", "plan.json"}
    assert not [path for path in (tmp_path / "copies").rglob("*") if path.is_file()]
    check = check_against(f"{bucket.url}/out", iris, [url], tmp_path / "scratch", again=1)
    assert (check.files, check.rescored) == (4, 1)
    # From here to there, and from there to here.
    run_batch(iris, [source], f"{bucket.url}/mixed", HERE)
    run_batch(iris, [url], tmp_path / "mixed", HERE)
    assert bucket.output("mixed") == files(tmp_path / "mixed") == files(tmp_path / "out")


def test_no_secret_is_in_what_a_run_writes(iris, parquet, bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "very-secret-token")
    bucket.put("in/rows.parquet", parquet("rows.parquet", 10))
    run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE)
    assert not [name for name in bucket.names("out/") if b"very-secret" in bucket.read(name)]


def test_a_check_finds_every_change_of_the_output(iris, parquet, bucket):
    bucket.put("in/rows.parquet", parquet("rows.parquet", 100))
    out = f"{bucket.url}/out"
    run_batch(iris, [f"{bucket.url}/in"], out, HERE)
    (part,) = [name for name in bucket.names("out/") if "part-" in name and ".lading" not in name]
    whole = bucket.read(part)
    bucket.put(part, whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BatchChanged, match="bytes of the manifest"):
        check_output(out)
    with pytest.raises(BatchChanged, match="the bytes that were written"):
        run_batch(iris, [f"{bucket.url}/in"], out, HERE)
    bucket.delete(part)
    with pytest.raises(BatchChanged, match="found none"):
        check_output(out)
    bucket.put(part, whole)
    bucket.put("out/part-000009-extra.parquet", b"")
    with pytest.raises(BatchChanged, match="as well"):
        check_output(out)


@pytest.mark.wide  # As in a folder, where it always runs.
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(
    tmp_path, iris, table, bucket, start, monkeypatch
):
    rows = table(6000).to_pydict()
    rows["petal_width"][::100] = [None] * 60
    source = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table(rows), source, row_group_size=500)
    url = bucket.put("in/rows.parquet", source)
    out, kills = f"{bucket.url}/out", 0

    def records() -> int:
        return len(bucket.names("out/.lading/done/"))

    while True:
        enough = records() + 4
        process = start(url, out)
        wait_until(lambda p=process, n=enough: p.poll() is not None or records() >= n)
        if process.poll() is not None:
            break
        time.sleep(kills * 0.007)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert process.returncode == 0, process.stderr.read()
    assert kills >= 2
    monkeypatch.setattr(planning, "PART_ROWS", 500)
    run_batch(iris, [source], tmp_path / "whole", Options(keep=("customer",), processes=1))
    assert bucket.output("out") == files(tmp_path / "whole")
    assert check_output(out).manifest.rows == 6000


@pytest.mark.parametrize("moment", ["copy", "create", "delete"])
def test_a_run_that_ends_while_it_publishes_goes_on(tmp_path, iris, parquet, bucket, monkeypatch, moment):
    monkeypatch.setattr(planning, "PART_ROWS", 500)
    source = parquet("rows.parquet", 1500, group=500)
    run_batch(iris, [source], tmp_path / "whole", HERE)
    bucket.put("in/rows.parquet", source)

    class Ended(BaseException):
        """Ends a run as a signal does: nothing of lading handles it."""

    calls = []
    with monkeypatch.context() as patch:
        owner = BucketPlace if moment == "create" else Objects
        original = getattr(owner, moment)

        def second(self, name, *arguments, **options):
            # The second part, or the manifest, or the second part that is of no use any more.
            calls.append(name)
            if len(calls) == 2:
                raise Ended
            return original(self, name, *arguments, **options)

        patch.setattr(owner, moment, second)
        with pytest.raises(Ended):
            run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE)
    assert ("out/manifest.json" in bucket.names("out/")) == (moment == "delete")
    run = run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE)
    assert run.resumed == 3
    assert bucket.output("out") == files(tmp_path / "whole")
    assert not bucket.names("out/.lading/parts/")


def test_two_runs_into_one_prefix_refuse_each_other(iris, parquet, bucket, start):
    url, out = bucket.put("in/rows.parquet", parquet("rows.parquet", 100)), f"{bucket.url}/out"
    with Ledger(out).holding():
        process = start(url, out)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert b"found one that is at work" in errors
        with pytest.raises(OutputInUse, match="at work") as caught:
            run_batch(iris, [url], out, HERE)
        assert "within 60 s" in caught.value.hint
    run_batch(iris, [url], out, Options(processes=1))


def test_a_run_that_lost_its_lock_publishes_nothing(iris, parquet, bucket, monkeypatch):
    monkeypatch.setattr(planning, "PART_ROWS", 500)
    monkeypatch.setattr("lading.batch.places.lease.LEASE_S", 0.4)
    url = bucket.put("in/rows.parquet", parquet("rows.parquet", 1000, group=500))

    def take(*_counts: int) -> None:
        # What another run does that has waited for longer than the lease.
        bucket.put("out/.lading/lock", msgspec.json.encode(Holder("other", "elsewhere", 1, 60.0)))
        lost_at = time.monotonic() + 0.5
        wait_until(lambda: time.monotonic() > lost_at)

    with pytest.raises(OutputInUse, match="the lock of this run"):
        run_batch(iris, [url], f"{bucket.url}/out", HERE, recorder=Recorder(progress=take))
    assert not [name for name in bucket.names("out/") if ".lading" not in name]
    assert msgspec.json.decode(bucket.read("out/.lading/lock"), type=Holder).run == "other"


def test_a_prefix_of_something_else_is_left_alone(iris, parquet, bucket):
    url = bucket.put("in/rows.parquet", parquet("rows.parquet", 10))
    bucket.put("out/mine.txt", b"precious")
    with pytest.raises(DestinationExists, match=r"mine\.txt"):
        run_batch(iris, [url], f"{bucket.url}/out", HERE)
    assert bucket.names("out/") == ["out/mine.txt"]


def test_a_server_that_does_not_keep_conditions_is_refused(iris, parquet, bucket, monkeypatch):
    url = bucket.put("in/rows.parquet", parquet("rows.parquet", 10))
    original = Objects.put

    def careless(self, url, data, *, only_new=False, instead_of=""):
        return original(self, url, data)

    monkeypatch.setattr(Objects, "put", careless)
    with pytest.raises(NotSupported, match="overwrites all the same"):
        run_batch(iris, [url], f"{bucket.url}/out", HERE)


def test_a_part_that_is_too_large_for_one_copy_is_copied_in_pieces(bucket, monkeypatch):
    monkeypatch.setattr(objects_module, "COPY_BYTES", 1000)
    monkeypatch.setattr(objects_module, "COPY_PIECE_BYTES", 5 << 20)
    body = bytes(range(256)) * (6 << 12)
    source = bucket.put("large", body)
    Objects().copy(source, f"{bucket.url}/copy", len(body))
    assert bucket.read("copy") == body
