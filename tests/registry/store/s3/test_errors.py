"""Errors of S3 and botocore become errors of lading, with a hint."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from lading.errors import RegistryUnavailable
from lading.registry.store.s3.errors import code_of, s3_errors


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no\nsuch"}}, "PutObject")


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (client_error("NoSuchBucket"), "make the bucket"),
        (client_error("AccessDenied"), "AbortMultipartUpload"),
        (client_error("403"), "AbortMultipartUpload"),
        (NoCredentialsError(), "AWS_ACCESS_KEY_ID"),
    ],
)
def test_an_error_names_the_store_and_what_to_do(error, hint):
    with pytest.raises(RegistryUnavailable, match="expected to read") as caught, s3_errors("s3://b"):
        raise error
    assert caught.value.where == "store `s3://b`"
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message


def test_an_unknown_error_has_no_hint():
    with pytest.raises(RegistryUnavailable) as caught, s3_errors("s3://b"):
        raise client_error("SlowDown")
    assert caught.value.hint is None


def test_only_errors_of_s3_have_a_code():
    assert code_of(client_error("NoSuchKey")) == "NoSuchKey"
    assert code_of(ValueError("?")) == ""
