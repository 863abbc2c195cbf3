"""Settings: declared once, read in one place, and within their limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import lading
from lading import settings
from lading.errors import InvalidSetting

SOURCE = Path(lading.__file__).parent


def test_only_one_module_reads_the_variables_of_lading():
    reading = re.compile(r"environ(?:\.get\(|\[)\s*(?:\"LADING_|variable\()|getenv")
    readers = [path for path in SOURCE.rglob("*.py") if reading.search(path.read_text())]
    assert [path.relative_to(SOURCE).as_posix() for path in readers] == ["settings.py"]


def test_the_store_and_the_cache_are_those_of_the_settings(tmp_path):
    environ = {"LADING_STORE": "s3://bucket/a", "LADING_CACHE": str(tmp_path)}
    assert settings.store_url(None, environ) == settings.store_settings(environ).store == "s3://bucket/a"
    assert settings.store_url("oci://host/b", environ) == "oci://host/b"
    assert settings.cache_folder(environ) == tmp_path
    assert (settings.store_url(None, {}), settings.cache_folder({})) == (None, None)


def test_an_actor_that_is_named_wins_over_the_variable():
    assert settings.actor("grace", {"LADING_ACTOR": "ada"}) == "grace"
    assert settings.actor(None, {"LADING_ACTOR": "ada"}) == "ada"
    assert settings.actor(None, {"LADING_ACTOR": ""}) is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("LADING_PORT", "65536", "expected at most 65535, found `65536`"),
        ("LADING_GRPC_PORT", "-2", "expected at least -1, found `-2`"),
        ("LADING_DEADLINE_S", "nan", "expected at least 0.001, found `nan`"),
        ("LADING_LOG_LEVEL", "loud", "expected one of `debug`, `info`, `warning`, `error`, found `loud`"),
        ("LADING_WORKERS", "many", "expected a whole number, found `many`"),
    ],
)
def test_a_value_out_of_its_limits_is_refused_with_its_variable(name, text, message):
    with pytest.raises(InvalidSetting, match=f"`{name}`: {message}"):
        settings.serve_settings({}, {name: text})


def test_a_flag_wins_over_ladings_variable_and_that_over_the_platforms():
    environ = {"LADING_PORT": "1", "AIP_HTTP_PORT": "2"}
    assert settings.serve_settings({"port": 3}, environ).port == 3
    assert settings.serve_settings({"port": None}, environ).port == 1
    assert settings.serve_settings({}, {"AIP_HTTP_PORT": "2"}).port == 2
    assert settings.serve_settings({}, {}).port == 8000


def test_the_registry_is_the_default_one_unless_it_is_set(tmp_path):
    environ = {"HOME": str(tmp_path)}
    assert settings.registry_url(None, environ) == str(tmp_path / ".lading")
    assert not settings.registry_is_set(None, environ)
    assert settings.registry_is_set(None, {**environ, "LADING_REGISTRY": "sqlite:///x"})
    assert settings.registry_url("other", environ) == "other"
