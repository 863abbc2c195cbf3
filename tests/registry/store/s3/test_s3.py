"""The S3 store against moto's real server: conditional writes, parts, leftovers, and faults."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest

from lading.errors import BlobNotFound, DigestMismatch, ExtraMissing, InvalidSetting, RegistryUnavailable
from lading.registry import Registry
from lading.registry.store import s3
from lading.registry.store.s3 import S3Store, s3_client
from support.bundles import linear_bundle
from support.s3_stores import BODY, DIGEST, PART_BYTES, object_at, put, read, uploads
from support.store_servers import AWS, moto, proxy

pytestmark = pytest.mark.slow


def test_parts_of_a_killed_writer_are_swept_and_those_of_a_running_one_are_not(open_store, client, s3_url):
    created = client.create_multipart_upload(**object_at(s3_url))
    client.upload_part(
        **object_at(s3_url), UploadId=created["UploadId"], PartNumber=1, Body=BODY[:PART_BYTES]
    )
    working = open_store()
    later = time.time() + 10
    assert working.sweep(later, dry_run=False) == []
    assert not working.has(DIGEST)
    quiet = open_store(quiet_s=-10)
    (planned,) = quiet.sweep(later, dry_run=True)
    assert (planned.kind, planned.name, planned.size_bytes) == (
        "temporary file",
        object_at(s3_url)["Key"],
        PART_BYTES,
    )
    assert len(uploads(client, s3_url)) == 1
    assert quiet.sweep(time.time() - 60, dry_run=False) == []
    assert quiet.sweep(later, dry_run=False) == [planned]
    assert uploads(client, s3_url) == []
    put(working)
    assert read(working) == BODY


@pytest.mark.parametrize("request_", ["ListParts", "AbortMultipartUpload"])
def test_an_upload_that_is_completed_during_the_sweep_is_skipped(
    open_store, client, s3_url, request_, monkeypatch
):
    created = client.create_multipart_upload(**object_at(s3_url))
    upload = {**object_at(s3_url), "UploadId": created["UploadId"]}
    part = client.upload_part(**upload, PartNumber=1, Body=BODY[:PART_BYTES])
    parts = [{"ETag": part["ETag"], "PartNumber": 1}]
    left = {**object_at(s3_url), "Key": object_at(s3_url)["Key"] + ".left"}
    client.create_multipart_upload(**left)
    # The store uses the client of this test, whose requests can be intercepted.
    monkeypatch.setattr(s3, "s3_client", lambda _environ: client)
    quiet = open_store(quiet_s=-10)
    completed = []

    def complete(**_event) -> None:
        if not completed:
            client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
            completed.append(True)

    client.meta.events.register_first(f"before-call.s3.{request_}", complete)
    (removed,) = quiet.sweep(time.time() + 10, dry_run=False)
    assert removed.name == left["Key"]
    assert completed
    assert uploads(client, s3_url) == []
    assert client.head_object(**object_at(s3_url))["ContentLength"] == PART_BYTES


@pytest.mark.parametrize("harm", [BODY[:-1], BODY[:-1] + b"?"], ids=["cut off", "changed"])
def test_an_overwritten_blob_is_refused_and_repaired_by_the_next_put(store, client, s3_url, harm):
    put(store)
    client.put_object(**object_at(s3_url), Body=harm)
    with pytest.raises(DigestMismatch, match=DIGEST):
        read(store)
    put(store)
    assert read(store) == BODY


def test_a_download_continues_where_the_connection_broke(store, open_store, s3_server, monkeypatch):
    put(store)
    with proxy(s3_server.address) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{way.address}")
        cut = open_store()
        assert cut.has(DIGEST)
        way.cut_after, way.cuts = PART_BYTES, 2
        assert read(cut) == BODY
        assert way.cuts == 0


def test_a_store_that_does_not_answer_is_unavailable_with_a_hint_at_its_url(open_store, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(RegistryUnavailable, match=r"127\.0\.0\.1:1") as caught:
        open_store().has(DIGEST)
    assert "AWS_ENDPOINT_URL" in caught.value.hint


def test_a_bucket_that_does_not_exist_is_reported(s3_url):
    store = S3Store("nobodys-bucket")
    with pytest.raises(RegistryUnavailable, match="NoSuchBucket") as caught:
        put(store)
    assert "LADING_STORE" in caught.value.hint
    with pytest.raises(RegistryUnavailable, match="NoSuchBucket"):
        list(store.blobs())
    store.close()


def test_without_credentials_nothing_is_sent(open_store, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(RegistryUnavailable, match=r"[Cc]redentials") as caught:
        open_store().has(DIGEST)
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


@pytest.fixture
def guarded_url(tmp_path, monkeypatch):
    """The URL of a bucket whose user has the rights that blobs need, but not those of `gc`."""
    from botocore.session import get_session

    # After the four requests below, moto checks what each user may do.
    monkeypatch.setenv("INITIAL_NO_AUTH_ACTION_COUNT", "4")
    server = moto(tmp_path)
    for name, value in {**AWS, "AWS_ENDPOINT_URL": f"http://{server.address}"}.items():
        monkeypatch.setenv(name, value)
    clients = [s3_client(os.environ), get_session().create_client("iam", region_name="us-east-1")]
    actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"]
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    clients[0].create_bucket(Bucket="guarded")
    clients[1].create_user(UserName="ann")
    clients[1].put_user_policy(UserName="ann", PolicyName="blobs", PolicyDocument=policy)
    key = clients[1].create_access_key(UserName="ann")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    yield "s3://guarded"
    for client in clients:
        client.close()
    server.stop()


def test_the_rights_that_gc_needs_are_named_if_one_is_missing(guarded_url):
    store = S3Store(guarded_url.removeprefix("s3://"))
    put(store, BODY[:1000])
    with pytest.raises(RegistryUnavailable, match="AccessDenied") as caught:
        store.sweep(time.time(), dry_run=False)
    for right in ("ListBucketMultipartUploads", "ListMultipartUploadParts", "AbortMultipartUpload"):
        assert right in caught.value.hint
    store.close()


def test_a_registry_can_keep_its_blobs_in_a_bucket(s3_url, tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    with Registry.open(str(tmp_path / "registry"), store=s3_url) as registry:
        version = registry.push(bundle)
        assert registry.pull("iris:1", tmp_path / "pulled").digest == bundle.digest
        with pytest.raises(BlobNotFound, match=f"{1:064x}"):
            registry.store.open(f"sha256:{1:064x}")
        registry.remove("iris:1")
        assert [removed.name for removed in registry.gc(older_than_s=-2).removed] == [version.blob]


def test_without_the_extra_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ExtraMissing, match="botocore") as caught:
        S3Store("bucket")
    assert "lading-ml[s3]" in caught.value.hint


def test_a_url_without_a_bucket_is_refused(tmp_path):
    with pytest.raises(InvalidSetting, match="no bucket"):
        Registry.open(str(tmp_path), store="s3:///prefix")


def test_threads_share_one_store(store):
    bodies = [bytes([number]) * 1000 for number in range(16)]
    threads = [threading.Thread(target=put, args=(store, body)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(store.blobs())) == 16
