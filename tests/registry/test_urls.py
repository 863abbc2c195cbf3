"""URLs of registries and stores: their parts, and what a message shows of them."""

from __future__ import annotations

import pytest

from lading.errors import (
    InvalidSetting,
)
from lading.registry import Registry


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://ann:s3cret@db/x",
        "PostgreSQL://ann:s3cret@db/x?sslmode=require",
        "mysql://db/x?user=ann&password=s3cret&more=1",
        "mysql://db/x?Password=a@s3cret",
        "s3+https://key:s3cret@db/x",
        "http://ann:s3cret/s3cret@s3cret@db/x",
    ],
)
def test_a_refused_url_is_shown_without_its_password(root, url):
    for place in ({"url": url}, {"url": str(root), "store": url}):
        with pytest.raises(InvalidSetting, match=r"found `.*db/x.*`") as caught:
            Registry.open(**place)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("oci://ann:s3cret@host/repo", "docker login"),
        ("oci://ann:s3cret/s3cret@host/repo", "docker login"),
        ("s3://key:s3cret@bucket/prefix", "AWS_ACCESS_KEY_ID"),
        ("s3://key:s3cret/s3cret@bucket/prefix", "AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_store_url_with_a_password_is_refused_with_a_hint_where_it_belongs(root, url, hint):
    with pytest.raises(InvalidSetting, match=r"found `\w+://\*\*\*@") as caught:
        Registry.open(str(root), store=url)
    assert "s3cret" not in str(caught.value)
    assert hint in caught.value.hint


def test_a_folder_whose_name_is_no_utf_8_is_refused(root):
    for place in ({"url": f"{root}/a\udcff"}, {"url": str(root), "store": f"{root}/a\udcff"}):
        with pytest.raises(InvalidSetting, match=r"a folder with a name in UTF-8, found '.*\\udcff'"):
            Registry.open(**place)
