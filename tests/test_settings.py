"""Settings: declared once, read in one place, and held to their limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import lading
from lading import settings
from lading.errors import InvalidSetting

SOURCE = Path(lading.__file__).parent


def test_one_file_reads_the_variables_of_lading():
    reading = re.compile(r"environ(?:\.get\(|\[)\s*(?:\"LADING_|variable\()|getenv")
    readers = [path for path in SOURCE.rglob("*.py") if reading.search(path.read_text())]
    assert [path.relative_to(SOURCE).as_posix() for path in readers] == ["settings.py"]


def test_the_store_and_the_cache_are_those_of_the_settings(tmp_path):
    environ = {"LADING_STORE": "s3://bucket/a", "LADING_CACHE": str(tmp_path)}
    assert settings.store_url(None, environ) == settings.store_settings(environ).store == "s3://bucket/a"
    assert settings.store_url("oci://host/b", environ) == "oci://host/b"
    assert settings.cache_folder(environ) == tmp_path
    assert (settings.store_url(None, {}), settings.cache_folder({})) == (None, None)


def test_the_actor_is_who_was_named():
    assert settings.actor("grace", {"LADING_ACTOR": "ada"}) == "grace"
    assert settings.actor(None, {"LADING_ACTOR": "ada"}) == "ada"
    assert settings.actor(None, {"LADING_ACTOR": ""}) is None


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("LADING_PORT", "65536", "expected at most 65535, found `65536`"),
        ("LADING_GRPC_PORT", "-2", "expected at least -1, found `-2`"),
        ("LADING_WORKERS", "many", "expected a whole number, found `many`"),
    ],
)
def test_a_value_out_of_its_limits_is_refused_with_its_variable(name, text, words):
    with pytest.raises(InvalidSetting, match=f"`{name}`: {words}"):
        settings.serve_settings({}, {name: text})
