"""Objects over a network with faults: what passes is waited for, what stays is one clear sentence."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta

import pytest

from lading.batch import plan as planning
from lading.batch.objects import Objects, is_url, split
from lading.batch.recording import Recorder
from lading.batch.run import run_batch
from lading.errors import BatchChanged, ExtraMissing, InvalidSetting, RegistryUnavailable, UsageError
from lading.registry.store import s3
from support.batch_runs import HERE, files
from support.s3_faults import Cut, Drop, Refuse, Stall, first_times

pytestmark = pytest.mark.slow

DATA = ("/in/rows.parquet", "part-000001", "manifest.json")


@pytest.fixture
def sent(tmp_path, iris, parquet, bucket, monkeypatch) -> dict[str, bytes]:
    """Put a file of three parts into the bucket, and return what a run on this machine makes of it."""
    monkeypatch.setattr(planning, "PART_ROWS", 500)
    source = parquet("rows.parquet", 1500, group=500)
    run_batch(iris, [source], tmp_path / "whole", HERE)
    bucket.put("in/rows.parquet", source)
    return files(tmp_path / "whole")


@pytest.mark.parametrize(
    "fault",
    [
        Refuse(503, "SlowDown"),
        Cut(3000),
        pytest.param(Stall(), marks=pytest.mark.wide),
        pytest.param(Drop(), marks=pytest.mark.wide),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_fault_that_passes_changes_no_byte(iris, bucket, faulty, sent, monkeypatch, fault):
    monkeypatch.setattr(s3, "READ_TIMEOUT_S", 1.0)
    # A body that is cut is one of an answer to GET alone.
    methods = ("GET",) if isinstance(fault, Cut) else ("GET", "PUT")
    faulty.fault = first_times(fault, *DATA, methods=methods)
    run = run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE)
    assert run.manifest.scored == 1500
    assert bucket.output("out") == sent


def test_what_stays_wrong_is_one_sentence_and_the_same_command_goes_on(
    iris, bucket, faulty, sent, monkeypatch
):
    monkeypatch.setattr(s3, "ATTEMPTS", 2)

    def slow_down(asked):
        is_second = "part-000001" in asked.path and asked.method == "PUT"
        return Refuse(503, "SlowDown") if is_second else None

    faulty.fault = slow_down
    with pytest.raises(RegistryUnavailable, match="SlowDown") as caught:
        run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE)
    assert caught.value.where.startswith(f"`{bucket.url}/out/.lading/parts/part-000001")
    assert "out/manifest.json" not in bucket.names("out/")
    faulty.fault = lambda _: None
    before = len(faulty.asked)
    run = run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE)
    assert run.resumed == 1
    assert bucket.output("out") == sent
    # Of what was done nothing was read again, and the input only to be scored.
    assert not [
        each for each in faulty.asked[before:] if each.method == "GET" and "/parts/part-" in each.path
    ]
    assert [each.method for each in faulty.asked[before:] if each.path.endswith("/in/rows.parquet")] == [
        "GET"
    ]


def test_each_object_is_read_once(iris, bucket, faulty, sent):
    run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE)
    assert faulty.count("GET", "/in/rows.parquet") == 1
    assert bucket.output("out") == sent


# Credentials.


def credentials_file(path, access_key: str) -> None:
    secrets = "aws_secret_access_key = secret\naws_session_token = t"
    path.write_text(f"[default]\naws_access_key_id = {access_key}\n{secrets}\n")


@pytest.fixture
def credentials(tmp_path, monkeypatch):
    """Have credentials in a file, and none in the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    path = tmp_path / "credentials"
    credentials_file(path, "OLD")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    return path


def expired(asked):
    return Refuse(400, "ExpiredToken") if asked.access_key == "OLD" else None


def test_credentials_that_a_file_renews_under_way_are_taken_up(iris, bucket, faulty, sent, credentials):
    def renew(done: int, *_counts: int) -> None:
        if done == 1:
            credentials_file(credentials, "NEW")
            faulty.fault = expired

    run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE, recorder=Recorder(progress=renew))
    assert bucket.output("out") == sent
    assert {asked.access_key for asked in faulty.asked} == {"OLD", "NEW"}


def test_credentials_that_nobody_renews_are_one_sentence_and_the_run_goes_on_later(
    iris, bucket, faulty, sent, credentials
):
    def expire(*_counts: int) -> None:
        faulty.fault = expired

    with pytest.raises(RegistryUnavailable, match="ExpiredToken") as caught:
        run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE, recorder=Recorder(progress=expire))
    assert "renew the credentials" in caught.value.hint
    assert "out/manifest.json" not in bucket.names("out/")
    credentials_file(credentials, "NEW")
    # The lock could not be given back; the process that held it is this one.
    bucket.delete("out/.lading/lock")
    assert run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE).resumed >= 1
    assert bucket.output("out") == sent


@pytest.mark.wide
def test_a_process_that_gives_credentials_is_asked_again_when_they_end(
    tmp_path, iris, bucket, faulty, sent, credentials, monkeypatch
):
    asked, keys = tmp_path / "asked", tmp_path / "keys.json"
    script = tmp_path / "credentials.py"
    script.write_text(
        f"import pathlib\nwith open({str(asked)!r}, 'a') as file:\n    file.write('x')\n"
        f"print(pathlib.Path({str(keys)!r}).read_text())\n"
    )

    def give(access_key: str, ends_in: timedelta) -> None:
        ends = (datetime.now(UTC) + ends_in).isoformat()
        secret = {"SecretAccessKey": "secret", "SessionToken": "t"}
        keys.write_text(json.dumps({"Version": 1, "AccessKeyId": access_key, **secret, "Expiration": ends}))

    credentials.write_text(f"[default]\ncredential_process = {sys.executable} {script}\n")
    # botocore asks for new ones ten minutes before the old ones end.
    give("OLD", timedelta(minutes=12))

    def expire(*_counts: int) -> None:
        give("NEW", timedelta(hours=1))
        faulty.fault = expired

    run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE, recorder=Recorder(progress=expire))
    assert bucket.output("out") == sent
    assert {each.access_key for each in faulty.asked} == {"OLD", "NEW"}


# Objects that change.


def test_an_object_that_is_replaced_before_it_is_read_is_refused(iris, parquet, bucket, faulty, sent):
    def replace(asked):
        if asked.method == "GET" and "/in/rows.parquet" in asked.path:
            bucket.put("in/rows.parquet", parquet("other.parquet", 1500, group=500, seed=3))

    faulty.fault = replace
    with pytest.raises(BatchChanged, match=r"in/rows.parquet`: expected the bytes it had at the start"):
        run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE)
    assert bucket.names("out/") == []


def test_an_object_that_is_replaced_after_the_plan_publishes_nothing(
    iris, parquet, bucket, sent, monkeypatch
):
    # No room for copies: each part is read once more.
    monkeypatch.setattr("lading.batch.spool.room_bytes", lambda: 0)

    def replace(*_counts: int) -> None:
        bucket.put("in/rows.parquet", parquet("other.parquet", 1500, group=500, seed=3))

    with pytest.raises(BatchChanged, match="the bytes it had at the start"):
        run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE, recorder=Recorder(progress=replace))
    assert "out/manifest.json" not in bucket.names("out/")
    with pytest.raises(BatchChanged, match=r"`rows.parquet` changed since"):
        run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE)


def test_an_object_that_is_gone_is_found_as_well(iris, bucket, sent):
    def remove(*_counts: int) -> None:
        bucket.delete("in/rows.parquet")

    with pytest.raises(BatchChanged, match="at the start, found none"):
        run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE, recorder=Recorder(progress=remove))


def test_a_bucket_with_versions_is_read_at_one_of_them(iris, parquet, bucket, sent):
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    bucket.put("in/rows.parquet", parquet("rows.parquet", 1500, group=500))
    run_batch(iris, [f"{bucket.url}/in"], f"{bucket.url}/out", HERE)
    (file,) = json.loads(bucket.read("out/.lading/plan.json"))["files"]
    head = bucket.client.head_object(Bucket=bucket.name, Key="some/prefix/in/rows.parquet")
    assert (file["etag"], file["version"]) == (head["ETag"], head["VersionId"])
    assert bucket.output("out") == sent


# URLs.


def test_a_url_is_a_text_and_not_a_path(tmp_path):
    assert is_url("s3://bucket/key")
    assert not is_url(tmp_path)
    with pytest.raises(UsageError, match="expected the URL as a text"):
        is_url(tmp_path.__class__("s3://bucket/key"))


def test_a_url_names_a_bucket_and_no_user():
    assert split("s3://bucket//a key/") == ("bucket", "/a key/")
    with pytest.raises(UsageError, match="no bucket"):
        split("s3:///key")
    with pytest.raises(InvalidSetting):
        split("s3://me:secret@bucket/key")


def test_without_the_extra_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ExtraMissing, match="botocore") as caught:
        Objects()
    assert "lading-ml[s3]" in caught.value.hint
